//! What the wrapper crate does not offer of the C library, with a safe face. The only unsafe code of this crate.
//!
//! The library has faults of its own. Those of 2.12.1 that reach memory, as its issues, its source, and its clients under the sanitizers of addresses
//! and of threads tell of them:
//!
//! - A transactional client that ends after an error frees the words of that error, and once more if another broker refuses a batch just then, as brokers do
//!   one after the other when a transaction is another one's now (`rd_kafka_txns_term`, `rd_kafka_txn_set_fatal_error`): "unaligned tcache chunk detected".
//!   No answer to a batch comes to a [`Writer`] that ends.
//! - `ListOffsets` and `DeleteRecords` about a partition whose leader it does not know: never asked, see `offsets::of_leaders`.
//! - A request to a group's coordinator that times out while that one is looked for (issue 4605): none does, see `Request::of_group`.
//! - `query_watermark_offsets`, `offsets_for_times` and `clusterid` go on with a client that was ended meanwhile (issues 5160, 5616): they are not
//!   called, and whatever is called here holds its client.
//! - A member that ends while it waits for the answer to `SyncGroup`: it leaves first, see `member::farewell` (issue 5347).
//! - A transactional producer that ends while it adds a partition to its transaction. It counts that request when it has handed it over to the thread
//!   of its broker, and if that one ends in between there is one request more than were counted: an assertion in
//!   `rd_kafka_txn_handle_AddPartitionsToTxn`, which ends the process. So who ends waits for what was sent, see `transactional`.
//! - A fetch that is answered with a new leader for one partition and with none for another, as by a broker that is being stopped and has the only
//!   copy in sync of the latter (issue 5280): leader and partition of the latter are taken from memory that nobody has written. Only numbers that are
//!   too large are refused, so a negative partition together with the number of a broker would be written to; anything near enough to be there
//!   is improbable. No setting prevents it. The sanitizer of addresses does not see it, since it fills memory before it is handed out; "new leader… not
//!   found in cache" in the log is the harmless end of it.
//! - Once a second, while no broker is connected, the list of brokers is walked along without its lock, and one of them may end just then
//!   (`rd_kafka_1s_tmr_cb`). Only connections to all brokers at all times would prevent it. It was never seen to go wrong.

mod acks;
mod groups;
mod membership;
mod topics;
mod writing;

use std::collections::{HashMap, VecDeque};
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::admin::AdminClient;
use rdkafka::bindings::{self as c, rd_kafka_message_t, rd_kafka_queue_t, rd_kafka_topic_t};
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;

pub(super) use groups::{delete_group, delete_positions, describe_group, group_positions};
pub(super) use membership::{Committed, Sent, commit, membership};
pub(super) use topics::identify;
pub(super) use writing::{
    OutboundBatch, OutboundError, OutboundQueue, OutboundReport, OutboundStep, OutboundTopic, Writer, open_writer, outbound_fatal,
    outbound_flush, outbound_hear, outbound_offsets, outbound_step, outbound_wake, topic_settings,
};

use super::bell::Bell;
use super::config::Token;
use super::context::{Context, ReaderContext};
use super::offsets;
use crate::kafka::Isolation;
use crate::record::{Headers, TopicPartition};

/// A client that reads.
pub(super) type Reader = BaseConsumer<ReaderContext>;
/// A client that administers.
pub(super) type Administrator = AdminClient<Context>;

/// A client of any sort, kept alive.
#[derive(Clone)]
pub(super) struct Native {
    client: *mut c::rd_kafka_t,
    _owner: Arc<dyn Send + Sync>,
}

// SAFETY: the library's clients may be used from any thread, and `_owner` keeps this one alive.
unsafe impl Send for Native {}
// SAFETY: as above.
unsafe impl Sync for Native {}

impl Native {
    pub(super) fn of_reader(reader: &Arc<Reader>) -> Self {
        Native { client: reader.client().native_ptr(), _owner: reader.clone() }
    }

    pub(super) fn of_admin(admin: &Arc<Administrator>) -> Self {
        Native { client: admin.inner().native_ptr(), _owner: admin.clone() }
    }
}

/// What a call answered, as an error if it is one.
fn checked(code: RDKafkaRespErr) -> Result<(), RDKafkaErrorCode> {
    match code {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(code.into()),
    }
}

fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}

/// Gives a client the bearer token that it shows to brokers from now on.
pub(super) fn show_token<C: ClientContext>(client: &Client<C>, token: &Token) -> Result<(), String> {
    let text = |text: &str| CString::new(text).map_err(|_| "a part of the token has a zero in it".to_owned());
    let (value, principal) = (text(&token.value)?, text(&token.principal)?);
    let pairs = token.extensions.iter().flat_map(|(name, value)| [text(name), text(value)]).collect::<Result<Vec<_>, _>>()?;
    let mut extensions: Vec<*const c_char> = pairs.iter().map(|text| text.as_ptr()).collect();
    let mut why = [0; 512];
    // SAFETY: the client is alive; all texts end with a zero, outlive the call, and are copied by it; it writes at most as many bytes of its
    // reason as it is told there are.
    let code = unsafe {
        c::rd_kafka_oauthbearer_set_token(
            client.native_ptr(),
            value.as_ptr(),
            token.expires.as_millis(),
            principal.as_ptr(),
            extensions.as_mut_ptr(),
            extensions.len(),
            why.as_mut_ptr(),
            why.len(),
        )
    };
    // SAFETY: the reason ends with a zero; it was all zeros before.
    checked(code).map_err(|_| unsafe { CStr::from_ptr(why.as_ptr()) }.to_string_lossy().into_owned())
}

/// A topic as a client knows it.
pub(super) struct TopicHandle {
    raw: NonNull<rd_kafka_topic_t>,
    name: CString,
    client: Native,
}

// SAFETY: the library's topic handles may be used from any thread; this one keeps its client alive.
unsafe impl Send for TopicHandle {}
// SAFETY: as above; the library locks them itself.
unsafe impl Sync for TopicHandle {}

impl TopicHandle {
    pub(super) fn new(client: &Native, topic: &str) -> Result<Arc<Self>, RDKafkaErrorCode> {
        let name = CString::new(topic).map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
        // SAFETY: the client is alive, the name ends with a zero, and a null configuration stands for the client's.
        let raw = unsafe { c::rd_kafka_topic_new(client.client, name.as_ptr(), ptr::null_mut()) };
        let raw = NonNull::new(raw).ok_or_else(last_error)?;
        Ok(Arc::new(TopicHandle { raw, name, client: client.clone() }))
    }
}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: it was made by `rd_kafka_topic_new` and is dropped once, before its client.
        unsafe { c::rd_kafka_topic_destroy(self.raw.as_ptr()) }
    }
}

fn last_error() -> RDKafkaErrorCode {
    // SAFETY: reads a thread-local of the library.
    unsafe { c::rd_kafka_last_error() }.into()
}

/// A partition that is being fetched, from an offset on, into a queue of its own. Dropping it ends that.
pub(super) struct PartitionQueue {
    raw: NonNull<rd_kafka_queue_t>,
    topic: Arc<TopicHandle>,
    partition: i32,
    /// Room for one batch, kept between batches.
    batch: Vec<*mut rd_kafka_message_t>,
    /// The queue rings it until the callback is taken off in `drop`.
    _bell: Arc<Bell>,
}

// SAFETY: queues may be used from any thread; `batch` holds no message between two calls.
unsafe impl Send for PartitionQueue {}

impl PartitionQueue {
    pub(super) fn start(topic: &Arc<TopicHandle>, partition: i32, offset: i64, bell: &Arc<Bell>) -> Result<Self, RDKafkaErrorCode> {
        let client = topic.client.client;
        // SAFETY: the client is alive for as long as `topic`, which the queue keeps.
        let raw = NonNull::new(unsafe { c::rd_kafka_queue_new(client) }).ok_or(RDKafkaErrorCode::Fail)?;
        let queue = PartitionQueue { raw, topic: topic.clone(), partition, batch: Vec::new(), _bell: bell.clone() };
        // SAFETY: the queue is alive. The callback gets a pointer into an `Arc` that the queue keeps, and is taken off before both are dropped.
        unsafe { c::rd_kafka_queue_cb_event_enable(raw.as_ptr(), Some(ring), Arc::as_ptr(bell).cast_mut().cast()) };
        // SAFETY: topic and queue are alive.
        match unsafe { c::rd_kafka_consume_start_queue(topic.raw.as_ptr(), partition, offset, raw.as_ptr()) } {
            0 => Ok(queue),
            _ => Err(last_error()),
        }
    }

    /// Moves what has come to `into`, at most `at_most` messages, without waiting.
    pub(super) fn take(&mut self, at_most: usize, into: &mut VecDeque<Message>) {
        self.batch.resize(at_most, ptr::null_mut());
        // SAFETY: the queue is alive and `batch` has room for `at_most` pointers.
        let taken = unsafe { c::rd_kafka_consume_batch_queue(self.raw.as_ptr(), 0, self.batch.as_mut_ptr(), at_most) };
        let taken = usize::try_from(taken).unwrap_or(0);
        into.extend(self.batch.drain(..).take(taken).filter_map(NonNull::new).map(Message));
    }

    /// The high watermark that the last fetch saw; none before the first one.
    pub(super) fn high_watermark(&self) -> Option<i64> {
        let (mut low, mut high) = (-1, -1);
        let client = self.topic.client.client;
        // SAFETY: client and name are alive; the library writes two numbers.
        let code =
            unsafe { c::rd_kafka_get_watermark_offsets(client, self.topic.name.as_ptr(), self.partition, &raw mut low, &raw mut high) };
        (checked(code).is_ok() && high >= 0).then_some(high)
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        // SAFETY: all of these are alive and this is the last use of the queue. The callback is taken off first, under the lock that it is
        // called under, so that it cannot outlive the bell.
        unsafe {
            c::rd_kafka_queue_cb_event_enable(self.raw.as_ptr(), None, ptr::null_mut());
            c::rd_kafka_consume_stop(self.topic.raw.as_ptr(), self.partition);
            c::rd_kafka_queue_destroy(self.raw.as_ptr());
        }
    }
}

/// Called by the library when an empty queue gets something.
unsafe extern "C" fn ring(_: *mut c::rd_kafka_t, bell: *mut c_void) {
    // SAFETY: `bell` is the one that `start` gave, which lives until the callback is taken off.
    unsafe { &*bell.cast::<Bell>() }.ring();
}

/// Where a message that was read keeps the length and, eight bytes on, the address of its headers as they came: behind what the library shows
/// of it, a list entry of two pointers, two numbers of 32 bits, the timestamp, a pointer, and two numbers of 32 bits.
const HEADERS_AT: usize = size_of::<rd_kafka_message_t>() + 2 * size_of::<usize>() + 8 + 8 + size_of::<usize>() + 8;

/// A record, or an event of a partition, as the library holds it.
pub(super) struct Message(NonNull<rd_kafka_message_t>);

// SAFETY: a message is owned by whoever took it from its queue, on whatever thread.
unsafe impl Send for Message {}

impl Message {
    fn raw(&self) -> &rd_kafka_message_t {
        // SAFETY: the message is ours until it is dropped.
        unsafe { self.0.as_ref() }
    }

    /// What it says instead of bringing a record; the end of the partition among them.
    pub(super) fn error(&self) -> Option<RDKafkaErrorCode> {
        checked(self.raw().err).err()
    }

    pub(super) fn offset(&self) -> i64 {
        self.raw().offset
    }

    pub(super) fn key(&self) -> Option<&[u8]> {
        // SAFETY: pointer and length of the key belong together and live as long as the message.
        unsafe { bytes(self.raw().key, self.raw().key_len) }
    }

    pub(super) fn value(&self) -> Option<&[u8]> {
        // SAFETY: as above, of the value.
        unsafe { bytes(self.raw().payload, self.raw().len) }
    }

    /// In milliseconds; -1 if the record has none.
    pub(super) fn timestamp(&self) -> i64 {
        // SAFETY: the message is alive; nobody asks for the kind of the timestamp.
        unsafe { c::rd_kafka_message_timestamp(self.0.as_ptr(), ptr::null_mut()) }
    }

    /// Whether it has no headers, as far as can be told without the library's accessor, which allocates whether there are any or not.
    fn has_plainly_no_headers(&self) -> bool {
        let raw = self.raw();
        if raw.payload.is_null() {
            return false;
        }
        // SAFETY: the message is the first part of the library's own record of it, which is longer than what is read here. What is read is taken
        // for the place of the headers only if it is the very address that follows the value, where they lie on the wire; then at least one byte
        // of them lies there.
        unsafe {
            let (len, data) = (self.0.byte_add(HEADERS_AT).cast::<i32>(), self.0.byte_add(HEADERS_AT + 8).cast::<*const u8>());
            let follows = raw.payload.cast::<u8>().cast_const().wrapping_add(raw.len);
            *len.as_ref() == 1 && *data.as_ref() == follows && *follows == 0
        }
    }

    pub(super) fn headers(&self) -> Headers {
        let mut headers = Headers::default();
        if self.has_plainly_no_headers() {
            return headers;
        }
        let mut list = ptr::null_mut();
        // SAFETY: the message is alive; the list belongs to it.
        if checked(unsafe { c::rd_kafka_message_headers(self.0.as_ptr(), &raw mut list) }).is_err() {
            return headers; // it has none
        }
        for index in 0.. {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the list is alive; the library writes where name and value are, or says that there is no such header.
            let found = unsafe { c::rd_kafka_header_get_all(list, index, &raw mut name, &raw mut value, &raw mut size) };
            if checked(found).is_err() {
                break;
            }
            // SAFETY: names end with a zero.
            let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
            // SAFETY: pointer and size of the value belong together.
            match unsafe { bytes(value, size) } {
                Some(value) => headers.add(name, value),
                None => headers.add_null(name),
            }
        }
        headers
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: it was taken from a queue once and is given back once.
        unsafe { c::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

/// # Safety
/// Unless it is null, `at` points to `length` bytes that live for `'a`.
unsafe fn bytes<'a>(at: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: promised by the caller.
    (!at.is_null()).then(|| unsafe { slice::from_raw_parts(at.cast::<u8>(), length) })
}

/// Which offset of a partition is asked for.
#[derive(Clone, Copy)]
pub(super) enum OffsetSpec {
    Begin,
    End,
    /// The first one with the largest timestamp of the partition.
    MaxTimestamp,
    /// The first one with this timestamp or a later one.
    Time(i64),
}

impl OffsetSpec {
    fn code(self) -> i64 {
        match self {
            OffsetSpec::Begin => -2,
            OffsetSpec::End => -1,
            OffsetSpec::MaxTimestamp => -3,
            OffsetSpec::Time(millis) => millis,
        }
    }
}

/// Asks for offsets, all in one go: an offset (-1 if there is none) and its timestamp for each, in the order asked. Only of partitions whose leader
/// is known to the client: see `offsets::of_leaders`.
pub(super) fn list_offsets(
    client: &Native,
    wanted: &[(TopicPartition, OffsetSpec)],
    isolation: Isolation,
    timeout: Duration,
) -> Result<Vec<Result<(i64, i64), RDKafkaErrorCode>>, RDKafkaErrorCode> {
    let mut list = TopicPartitionList::with_capacity(wanted.len());
    for (partition, _) in wanted {
        list.add_partition(&partition.topic, partition.partition);
    }
    let level = match isolation {
        Isolation::ReadUncommitted => c::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
        Isolation::ReadCommitted => c::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
    };
    // SAFETY: the list has as many elements as `wanted`.
    for ((_, spec), element) in wanted.iter().zip(unsafe { elements(list.ptr()) }) {
        element.offset = spec.code();
    }
    let request = Request::new(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout);
    // SAFETY: client, list, options and queue are alive; the answer is one to this request.
    unsafe {
        c::rd_kafka_AdminOptions_set_isolation_level(request.options, level);
        c::rd_kafka_ListOffsets(client.client, list.ptr(), request.options, request.queue);
        offsets_of(request.answer()?.0, wanted)
    }
}

/// A request of an administrator: what it is asked with, and where the answer comes.
struct Request {
    options: *mut c::rd_kafka_AdminOptions_t,
    queue: *mut rd_kafka_queue_t,
    patience: Duration,
    _client: Native,
}

/// The longest time-out that the library takes.
const LONGEST: Duration = Duration::from_secs(3600);

/// The answer to a request.
struct Answer(*mut c::rd_kafka_event_t);

impl Request {
    fn new(client: &Native, op: c::rd_kafka_admin_op_t, timeout: Duration) -> Self {
        // A little later than the request's own time-out, so that the answer is always read.
        Request::with(client, op, timeout, timeout + Duration::from_secs(2))
    }

    /// Of whoever coordinates a group. It must not time out while the library looks for that one: once it is found, librdkafka 2.12 goes on with what
    /// it has freed (its issue 4605). So the library has all the time there is, an hour, and an answer that nobody waits for any more is dropped by it. A
    /// client that lives longer and was not answered is exchanged for another one.
    fn of_group(client: &Native, op: c::rd_kafka_admin_op_t, patience: Duration) -> Self {
        Request::with(client, op, LONGEST, patience)
    }

    fn with(client: &Native, op: c::rd_kafka_admin_op_t, timeout: Duration, patience: Duration) -> Self {
        let mut text = [0; 256];
        // SAFETY: the client is alive, and kept so by what is made.
        unsafe {
            let queue = c::rd_kafka_queue_new(client.client);
            let options = c::rd_kafka_AdminOptions_new(client.client, op);
            c::rd_kafka_AdminOptions_set_request_timeout(options, millis(timeout), text.as_mut_ptr(), text.len());
            Request { options, queue, patience, _client: client.clone() }
        }
    }

    fn answer(&self) -> Result<Answer, RDKafkaErrorCode> {
        // SAFETY: the queue is alive; the event is freed by `Answer`.
        let answer = Answer(unsafe { c::rd_kafka_queue_poll(self.queue, millis(self.patience)) });
        if answer.0.is_null() {
            return Err(RDKafkaErrorCode::OperationTimedOut);
        }
        // SAFETY: the event is alive.
        checked(unsafe { c::rd_kafka_event_error(answer.0) }).map(|()| answer)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // SAFETY: both were made in `new`.
        unsafe {
            c::rd_kafka_AdminOptions_destroy(self.options);
            c::rd_kafka_queue_destroy(self.queue);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the event was given to us and is freed once.
            unsafe { c::rd_kafka_event_destroy(self.0) }
        }
    }
}

/// # Safety
/// The list is alive for `'a` and nobody else changes it.
unsafe fn elements<'a>(list: *const c::rd_kafka_topic_partition_list_t) -> &'a mut [c::rd_kafka_topic_partition_t] {
    // SAFETY: promised by the caller; the list says how many it has.
    unsafe {
        match usize::try_from((*list).cnt) {
            Ok(count @ 1..) => slice::from_raw_parts_mut((*list).elems, count),
            _ => &mut [],
        }
    }
}

/// # Safety
/// `at` is null or a text that ends with a zero.
unsafe fn text(at: *const std::ffi::c_char) -> String {
    // SAFETY: promised by the caller.
    if at.is_null() { String::new() } else { unsafe { CStr::from_ptr(at) }.to_string_lossy().into_owned() }
}

/// # Safety
/// The element is alive.
unsafe fn partition_of(element: &c::rd_kafka_topic_partition_t) -> TopicPartition {
    // SAFETY: the topic of an element is a text that ends with a zero.
    TopicPartition::new(unsafe { text(element.topic) }, element.partition)
}

/// # Safety
/// What is given is null or an array of as many pointers as the library said.
unsafe fn array<'a, T>(first: *mut *const T, count: usize) -> &'a [*const T] {
    // SAFETY: promised by the caller.
    if count == 0 || first.is_null() { &[] } else { unsafe { slice::from_raw_parts(first, count) } }
}

/// # Safety
/// `event` is the answer to `rd_kafka_ListOffsets`.
unsafe fn offsets_of(
    event: *mut c::rd_kafka_event_t,
    wanted: &[(TopicPartition, OffsetSpec)],
) -> Result<Vec<Result<(i64, i64), RDKafkaErrorCode>>, RDKafkaErrorCode> {
    // SAFETY: promised by the caller; what is read here belongs to the event.
    unsafe {
        let result = c::rd_kafka_event_ListOffsets_result(event);
        let mut count = 0;
        let infos = c::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
        let mut found = HashMap::with_capacity(count);
        for info in array(infos, count) {
            let element = &*c::rd_kafka_ListOffsetsResultInfo_topic_partition(*info);
            let answer = offsets::heard(checked(element.err), element.offset, c::rd_kafka_ListOffsetsResultInfo_timestamp(*info));
            found.insert(partition_of(element), answer);
        }
        Ok(wanted.iter().map(|(partition, _)| found.get(partition).cloned().unwrap_or(Err(RDKafkaErrorCode::UnknownPartition))).collect())
    }
}

/// Changes settings of a topic; one without a value gets its default again. A refusal comes with the cluster's own words.
pub(super) fn alter_topic(
    client: &Native,
    topic: &str,
    changes: &[(&str, Option<&str>)],
    timeout: Duration,
) -> Result<(), (RDKafkaErrorCode, String)> {
    use c::rd_kafka_AlterConfigOpType_t::{RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE, RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET};
    let owned = |text: &str| CString::new(text).map_err(|_| (RDKafkaErrorCode::InvalidConfig, text.to_owned()));
    let request = Request::new(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS, timeout);
    let topic = owned(topic)?;
    let changes: Result<Vec<_>, _> = changes.iter().map(|(key, value)| Ok((owned(key)?, value.map(owned).transpose()?))).collect();
    let changes = changes?;
    // SAFETY: texts, client, options and queue are alive; the resource is freed here, what is read belongs to the answer.
    unsafe {
        let mut resource = c::rd_kafka_ConfigResource_new(c::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, topic.as_ptr());
        for (key, value) in &changes {
            let op = if value.is_some() { RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET } else { RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE };
            let value = value.as_ref().map_or(ptr::null(), |value| value.as_ptr());
            // A refusal comes back from the cluster as well.
            let refused = c::rd_kafka_ConfigResource_add_incremental_config(resource, key.as_ptr(), op, value);
            if !refused.is_null() {
                c::rd_kafka_error_destroy(refused);
            }
        }
        c::rd_kafka_IncrementalAlterConfigs(client.client, &raw mut resource, 1, request.options, request.queue);
        let answer = request.answer();
        c::rd_kafka_ConfigResource_destroy(resource);
        let answer = answer.map_err(|code| (code, String::new()))?;
        let mut count = 0;
        let result = c::rd_kafka_event_IncrementalAlterConfigs_result(answer.0);
        let resources = c::rd_kafka_IncrementalAlterConfigs_result_resources(result, &raw mut count);
        for resource in array(resources, count) {
            checked(c::rd_kafka_ConfigResource_error(*resource))
                .map_err(|code| (code, text(c::rd_kafka_ConfigResource_error_string(*resource))))?;
        }
    }
    Ok(())
}
