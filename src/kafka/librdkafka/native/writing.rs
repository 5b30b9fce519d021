//! Writing: records into the client's queue with all that they have, what became of them, and the steps of transactions.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rdkafka::bindings::{self as c, rd_kafka_message_t, rd_kafka_queue_t, rd_kafka_topic_t};
use rdkafka::client::{Client, ClientContext as _};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::{RDKafkaRespErr, RDKafkaType};
use rdkafka::{ClientConfig, TopicPartitionList};

use super::acks::{Acked, Acks, on_acknowledgement};
use super::{checked, last_error, millis};
use crate::kafka::Outgoing;
use crate::kafka::librdkafka::context::Context;
use crate::record::Headers;

/// The client that everything written here goes through.
pub(in crate::kafka::librdkafka) struct Writer {
    client: Client<Context>,
    // Used by threads of the client: it goes after the client.
    acks: Arc<Acks>,
}

impl Deref for Writer {
    type Target = Client<Context>;
    fn deref(&self) -> &Client<Context> {
        &self.client
    }
}

impl Writer {
    /// What was acknowledged since the last call.
    pub(in crate::kafka::librdkafka) fn acked(&self) -> Vec<Acked> {
        self.acks.take()
    }
}

impl Drop for Writer {
    /// No answer to a batch may come any more when the library begins to end the client: see `native`, about the words of an error. So what is queued and
    /// what is under way is given up first, and each of the client's threads has said so when the call returns. Ending loses those records in any case.
    fn drop(&mut self) {
        let all = c::RD_KAFKA_PURGE_F_QUEUE | c::RD_KAFKA_PURGE_F_INFLIGHT;
        // SAFETY: the client is alive, it goes after this.
        unsafe { c::rd_kafka_purge(self.client.native_ptr(), all) };
    }
}

const INTERCEPTOR: &CStr = c"highwater";

/// Opens a client that writes. It counts what is acknowledged; what is lost is told to whoever calls [`OutboundQueue::serve`].
pub(in crate::kafka::librdkafka) fn open_writer(config: &ClientConfig) -> KafkaResult<Writer> {
    let acks = Arc::<Acks>::default();
    let native = config.create_native_config()?;
    // SAFETY: the configuration is alive; `acks` outlives the client, which is dropped before it here and in `Writer`.
    unsafe {
        c::rd_kafka_conf_set_events(native.ptr(), c::RD_KAFKA_EVENT_DR | c::RD_KAFKA_EVENT_ERROR);
        let acks = Arc::as_ptr(&acks).cast_mut().cast();
        c::rd_kafka_conf_interceptor_add_on_new(native.ptr(), INTERCEPTOR.as_ptr(), Some(on_new), acks);
    }
    let client = Client::new(config, native, RDKafkaType::RD_KAFKA_PRODUCER, Context::default())?;
    Ok(Writer { client, acks })
}

unsafe extern "C" fn on_new(
    client: *mut c::rd_kafka_t,
    _: *const c::rd_kafka_conf_t,
    acks: *mut c_void,
    _: *mut c_char,
    _: usize,
) -> RDKafkaRespErr {
    // SAFETY: called by the library with the client that it makes, and with what was given with this function.
    unsafe {
        c::rd_kafka_interceptor_add_on_acknowledgement(client, INTERCEPTOR.as_ptr(), Some(on_acknowledgement), acks);
        c::rd_kafka_interceptor_add_on_send(client, INTERCEPTOR.as_ptr(), Some(on_send), ptr::null_mut())
    }
}

/// Where a message keeps its timestamp: behind what the library shows of it, a list entry of two pointers, and two numbers of 32 bits.
const TIMESTAMP_AT: usize = size_of::<rd_kafka_message_t>() + 2 * size_of::<usize>() + 8;

/// Whether messages keep their timestamp there. Asked once, of the first message with a telling one: [`UNKNOWN`], [`YES`] or [`NO`].
static TIMESTAMP_IS_THERE: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;

/// Numbers up to this one may stand in other places of a message as well.
const TELLING: i64 = 1 << 32;

/// Called by the library for every message before it is queued, on the thread that sends it. Puts in the timestamp that travels as the
/// message's opaque value: the library takes none with a batch, and takes 0 for "now".
unsafe extern "C" fn on_send(_: *mut c::rd_kafka_t, message: *mut rd_kafka_message_t, _: *mut c_void) -> RDKafkaRespErr {
    // SAFETY: the library shows a message that nobody else has yet. It is the first part of the library's own record of it, which is longer
    // than what is read here. Nothing is written before the library's accessor has shown that the timestamp is where it is looked for.
    unsafe {
        let slot = message.byte_add(TIMESTAMP_AT).cast::<i64>();
        if TIMESTAMP_IS_THERE.load(Ordering::Relaxed) == UNKNOWN {
            let shown = c::rd_kafka_message_timestamp(message, ptr::null_mut());
            if shown > TELLING {
                TIMESTAMP_IS_THERE.store(if shown == *slot { YES } else { NO }, Ordering::Relaxed);
            }
        }
        if TIMESTAMP_IS_THERE.load(Ordering::Relaxed) == YES {
            *slot = (*message)._private as i64;
        }
    }
    RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// A topic that is written to, as a client knows it.
pub(in crate::kafka::librdkafka) struct OutboundTopic {
    raw: NonNull<rd_kafka_topic_t>,
    client: Arc<Writer>,
}

// SAFETY: the library's topic handles may be used from any thread; this one keeps its client alive.
unsafe impl Send for OutboundTopic {}

impl OutboundTopic {
    pub(in crate::kafka::librdkafka) fn new(client: &Arc<Writer>, topic: &str) -> Result<Self, RDKafkaErrorCode> {
        let name = CString::new(topic).map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
        // SAFETY: the client is alive, the name ends with a zero, and a null configuration stands for the client's.
        let raw = unsafe { c::rd_kafka_topic_new(client.native_ptr(), name.as_ptr(), ptr::null_mut()) };
        Ok(OutboundTopic { raw: NonNull::new(raw).ok_or_else(last_error)?, client: client.clone() })
    }

    /// Copies records into the client's queue, in order, until one is not taken: how many were, and why the next was not.
    pub(in crate::kafka::librdkafka) fn send(
        &self,
        partition: i32,
        records: &[Outgoing<'_>],
        batch: &mut OutboundBatch,
    ) -> (usize, Option<RDKafkaErrorCode>) {
        let mut taken = 0;
        while let Some(record) = records.get(taken) {
            let proven = TIMESTAMP_IS_THERE.load(Ordering::Relaxed) == YES;
            let plain = if proven { records[taken..].iter().take_while(|record| record.headers.is_empty()).count() } else { 0 };
            let (more, refused) = match plain {
                0 => self.send_one(partition, record).map_or_else(|code| (0, Some(code)), |()| (1, None)),
                plain => self.send_plain(partition, &records[taken..taken + plain], batch),
            };
            taken += more;
            if refused.is_some() {
                return (taken, refused);
            }
        }
        (taken, None)
    }

    /// Records without headers, in one call.
    fn send_plain(&self, partition: i32, records: &[Outgoing<'_>], batch: &mut OutboundBatch) -> (usize, Option<RDKafkaErrorCode>) {
        let records = &records[..records.len().min(LONGEST_BATCH)];
        batch.0.clear();
        batch.0.extend(records.iter().map(|record| {
            let ((payload, len), (key, key_len)) = (parts(record.value), parts(record.key));
            rd_kafka_message_t {
                err: RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR,
                rkt: ptr::null_mut(),
                partition,
                payload,
                len,
                key,
                key_len,
                offset: 0,
                _private: record.timestamp.as_millis() as *mut c_void,
            }
        }));
        let length = i32::try_from(records.len()).expect("not longer than the longest batch");
        // SAFETY: topic and client are alive; keys and values are copied before the call returns.
        let taken =
            unsafe { c::rd_kafka_produce_batch(self.raw.as_ptr(), partition, c::RD_KAFKA_MSG_F_COPY, batch.0.as_mut_ptr(), length) };
        // None after the first one that is not taken is: the only reasons left here hold for all that follow.
        let refused = if taken < length { batch.0.iter().find_map(|message| checked(message.err).err()) } else { None };
        (usize::try_from(taken).unwrap_or(0), refused)
    }

    /// One record with all that it has.
    fn send_one(&self, partition: i32, record: &Outgoing<'_>) -> Result<(), RDKafkaErrorCode> {
        use c::rd_kafka_vtype_t::*;
        let headers = native_headers(record.headers)?;
        let field = |vtype, set: &dyn Fn(&mut c::rd_kafka_vu_s__bindgen_ty_1)| {
            let mut u = c::rd_kafka_vu_s__bindgen_ty_1 { _pad: [0; 64] };
            set(&mut u);
            c::rd_kafka_vu_t { vtype, u }
        };
        let memory = |bytes| {
            let (ptr, size) = parts(bytes);
            c::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr, size }
        };
        let (millis, nearest) = (record.timestamp.as_millis(), TIMESTAMP_IS_THERE.load(Ordering::Relaxed) == NO);
        let fields = [
            field(RD_KAFKA_VTYPE_RKT, &|u| u.rkt = self.raw.as_ptr()),
            field(RD_KAFKA_VTYPE_PARTITION, &|u| u.i32_ = partition),
            field(RD_KAFKA_VTYPE_MSGFLAGS, &|u| u.i = c::RD_KAFKA_MSG_F_COPY),
            field(RD_KAFKA_VTYPE_VALUE, &|u| u.mem = memory(record.value)),
            field(RD_KAFKA_VTYPE_KEY, &|u| u.mem = memory(record.key)),
            // 0 stands for "now", which `on_send` undoes. Where it cannot, one millisecond is nearer.
            field(RD_KAFKA_VTYPE_TIMESTAMP, &|u| u.i64_ = if nearest { millis.max(1) } else { millis }),
            field(RD_KAFKA_VTYPE_OPAQUE, &|u| u.ptr = millis as *mut c_void),
            field(RD_KAFKA_VTYPE_HEADERS, &|u| u.headers = headers),
        ];
        let given = if headers.is_null() { fields.len() - 1 } else { fields.len() };
        // SAFETY: topic, client, key, value and headers are alive; key and value are copied, and the headers are the library's if it says so.
        let error = unsafe { c::rd_kafka_produceva(self.client.native_ptr(), fields.as_ptr(), given) };
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: the error and the headers are still ours.
        unsafe {
            if !headers.is_null() {
                c::rd_kafka_headers_destroy(headers);
            }
        }
        Err(OutboundError::take(error).map_or(RDKafkaErrorCode::Fail, |error| error.code))
    }
}

impl Drop for OutboundTopic {
    fn drop(&mut self) {
        // SAFETY: it was made by `rd_kafka_topic_new` and is dropped once, before its client.
        unsafe { c::rd_kafka_topic_destroy(self.raw.as_ptr()) }
    }
}

/// More records than this go in several calls.
const LONGEST_BATCH: usize = 10_000;

/// Room for one batch, kept between batches.
#[derive(Default)]
pub(in crate::kafka::librdkafka) struct OutboundBatch(Vec<rd_kafka_message_t>);

// SAFETY: what it holds between two calls is never read.
unsafe impl Send for OutboundBatch {}

/// Where bytes are and how many; null for none.
fn parts(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |bytes| (bytes.as_ptr().cast_mut().cast(), bytes.len()))
}

/// The headers as the library wants them; null for none. They are the caller's until the library takes them.
fn native_headers(headers: &Headers) -> Result<*mut c::rd_kafka_headers_t, RDKafkaErrorCode> {
    if headers.is_empty() {
        return Ok(ptr::null_mut());
    }
    // SAFETY: makes a list of our own.
    let list = unsafe { c::rd_kafka_headers_new(headers.len()) };
    for (name, value) in headers.iter() {
        let (value, size) = parts(value);
        let (name_size, size) = (name.len().cast_signed(), size.cast_signed());
        // SAFETY: the list is ours; name and value are copied, with the lengths given.
        let added = checked(unsafe { c::rd_kafka_header_add(list, name.as_ptr().cast(), name_size, value, size) });
        if let Err(code) = added {
            // SAFETY: the list is ours and used no more.
            unsafe { c::rd_kafka_headers_destroy(list) };
            return Err(code);
        }
    }
    Ok(list)
}

/// Waits until nothing is on its way any more, without lingering. False if that took too long.
pub(in crate::kafka::librdkafka) fn outbound_flush(client: &Writer, timeout: Duration) -> bool {
    // SAFETY: the client is alive. Reports are drained by the thread that serves its queue.
    checked(unsafe { c::rd_kafka_flush(client.native_ptr(), millis(timeout)) }).is_ok()
}

/// What a client can do no more, if that is so.
pub(in crate::kafka::librdkafka) fn outbound_fatal(client: &Writer) -> Option<RDKafkaErrorCode> {
    // SAFETY: the client is alive, and no text is asked for.
    checked(unsafe { c::rd_kafka_fatal_error(client.native_ptr(), ptr::null_mut(), 0) }).err()
}

/// The queue in which a client tells what became of its records.
pub(in crate::kafka::librdkafka) struct OutboundQueue {
    raw: NonNull<rd_kafka_queue_t>,
    client: Arc<Writer>,
    /// Room for the reports of one event, kept between events.
    messages: Vec<*const rd_kafka_message_t>,
}

// SAFETY: queues may be used from any thread; `messages` is empty between two calls.
unsafe impl Send for OutboundQueue {}

/// Some records of one partition that are lost.
pub(in crate::kafka::librdkafka) struct OutboundReport<'a> {
    pub(in crate::kafka::librdkafka) topic: &'a str,
    pub(in crate::kafka::librdkafka) partition: i32,
    /// How many.
    pub(in crate::kafka::librdkafka) count: u64,
    /// Why.
    pub(in crate::kafka::librdkafka) code: RDKafkaErrorCode,
}

impl OutboundQueue {
    pub(in crate::kafka::librdkafka) fn of(client: &Arc<Writer>) -> Self {
        // SAFETY: the client is alive and has a main queue.
        let raw = NonNull::new(unsafe { c::rd_kafka_queue_get_main(client.native_ptr()) }).expect("every client has a main queue");
        OutboundQueue { raw, client: client.clone(), messages: Vec::new() }
    }

    /// Waits for an event and handles it. The library counts its records as done when this returns.
    pub(in crate::kafka::librdkafka) fn serve(&mut self, timeout: Duration, told: &mut dyn FnMut(OutboundReport<'_>)) {
        // SAFETY: the queue is alive; the event is ours until it is destroyed, and nothing of it is kept.
        unsafe {
            let event = c::rd_kafka_queue_poll(self.raw.as_ptr(), millis(timeout));
            if event.is_null() {
                return;
            }
            match c::rd_kafka_event_type(event) {
                c::RD_KAFKA_EVENT_DR => self.report(event, told),
                _ => hear(&self.client, event),
            }
            c::rd_kafka_event_destroy(event);
        }
    }

    /// # Safety
    /// `event` is a delivery report.
    unsafe fn report(&mut self, event: *mut c::rd_kafka_event_t, told: &mut dyn FnMut(OutboundReport<'_>)) {
        // SAFETY: promised by the caller; there is room for as many messages as there are, and they live as long as the event.
        let messages = unsafe {
            let count = c::rd_kafka_event_message_count(event);
            self.messages.reserve(count);
            let count = c::rd_kafka_event_message_array(event, self.messages.as_mut_ptr(), count);
            self.messages.set_len(count);
            slice::from_raw_parts(self.messages.as_ptr().cast::<&rd_kafka_message_t>(), count)
        };
        for run in messages.chunk_by(|a, b| (a.rkt, a.partition, a.err) == (b.rkt, b.partition, b.err)) {
            // SAFETY: the topic lives as long as its messages, and names end with a zero.
            let topic = unsafe { CStr::from_ptr(c::rd_kafka_topic_name(run[0].rkt)) }.to_string_lossy();
            // Of those without an error the client has been told already.
            if let Err(code) = checked(run[0].err) {
                told(OutboundReport { topic: &topic, partition: run[0].partition, count: run.len() as u64, code });
            }
        }
        self.messages.clear();
    }
}

/// Takes in what a client has to say that nobody else listens to: an administrator's, whose answers come another way.
pub(in crate::kafka::librdkafka) fn outbound_hear(client: &Client<Context>) {
    // SAFETY: the client is alive and has a main queue; each event is ours until it is destroyed, and nothing of it is kept.
    unsafe {
        let queue = c::rd_kafka_queue_get_main(client.native_ptr());
        loop {
            let event = c::rd_kafka_queue_poll(queue, 0);
            if event.is_null() {
                break;
            }
            hear(client, event);
            c::rd_kafka_event_destroy(event);
        }
        c::rd_kafka_queue_destroy(queue);
    }
}

/// # Safety
/// `event` is alive.
unsafe fn hear(client: &Client<Context>, event: *mut c::rd_kafka_event_t) {
    let (mut facility, mut text, mut level) = (ptr::null(), ptr::null(), 0);
    // SAFETY: promised by the caller; the texts end with a zero and live as long as the event.
    unsafe {
        match c::rd_kafka_event_type(event) {
            c::RD_KAFKA_EVENT_LOG if c::rd_kafka_event_log(event, &raw mut facility, &raw mut text, &raw mut level) == 0 => {
                let (facility, text) = (CStr::from_ptr(facility).to_string_lossy(), CStr::from_ptr(text).to_string_lossy());
                client.context().log(log_level(level), facility.trim(), text.trim());
            }
            c::RD_KAFKA_EVENT_ERROR => {
                let error = KafkaError::Global(c::rd_kafka_event_error(event).into());
                client.context().error(error, &CStr::from_ptr(c::rd_kafka_event_error_string(event)).to_string_lossy());
            }
            _ => {}
        }
    }
}

impl Drop for OutboundQueue {
    fn drop(&mut self) {
        // SAFETY: gives back what `of` got, before the client.
        unsafe { c::rd_kafka_queue_destroy(self.raw.as_ptr()) }
    }
}

/// Wakes whoever serves the queue of a client.
pub(in crate::kafka::librdkafka) fn outbound_wake(client: &Writer) {
    // SAFETY: the client is alive; the queue is got and given back.
    unsafe {
        let queue = c::rd_kafka_queue_get_main(client.native_ptr());
        c::rd_kafka_queue_yield(queue);
        c::rd_kafka_queue_destroy(queue);
    }
}

fn log_level(level: i32) -> RDKafkaLogLevel {
    match level {
        ..=3 => RDKafkaLogLevel::Error,
        4 => RDKafkaLogLevel::Warning,
        5 | 6 => RDKafkaLogLevel::Info,
        _ => RDKafkaLogLevel::Debug,
    }
}

/// Why the library did not do something.
#[derive(Debug)]
pub(in crate::kafka::librdkafka) struct OutboundError {
    pub(in crate::kafka::librdkafka) code: RDKafkaErrorCode,
    /// Its own words.
    pub(in crate::kafka::librdkafka) text: String,
    /// The client can do nothing any more.
    pub(in crate::kafka::librdkafka) is_fatal: bool,
    /// The same call may be made again.
    pub(in crate::kafka::librdkafka) is_retriable: bool,
    /// The transaction has to be aborted.
    pub(in crate::kafka::librdkafka) must_abort: bool,
}

impl OutboundError {
    /// What a call answered, if that is an error. It is given back to the library.
    fn take(error: *mut c::rd_kafka_error_t) -> Option<Self> {
        if error.is_null() {
            return None;
        }
        // SAFETY: the error is ours until it is destroyed.
        unsafe {
            let taken = OutboundError {
                code: c::rd_kafka_error_code(error).into(),
                text: CStr::from_ptr(c::rd_kafka_error_string(error)).to_string_lossy().into_owned(),
                is_fatal: c::rd_kafka_error_is_fatal(error) != 0,
                is_retriable: c::rd_kafka_error_is_retriable(error) != 0,
                must_abort: c::rd_kafka_error_txn_requires_abort(error) != 0,
            };
            c::rd_kafka_error_destroy(error);
            Some(taken)
        }
    }
}

/// A step in the life of a transactional client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka::librdkafka) enum OutboundStep {
    Init,
    Begin,
    Commit,
    Abort,
}

/// Takes a step, for at most so long. One that took too long is resumed by the same call.
pub(in crate::kafka::librdkafka) fn outbound_step(client: &Writer, step: OutboundStep, timeout: Duration) -> Result<(), OutboundError> {
    let (client, timeout) = (client.native_ptr(), millis(timeout));
    // SAFETY: the client is alive.
    let error = unsafe {
        match step {
            OutboundStep::Init => c::rd_kafka_init_transactions(client, timeout),
            OutboundStep::Begin => c::rd_kafka_begin_transaction(client),
            OutboundStep::Commit => c::rd_kafka_commit_transaction(client, timeout),
            OutboundStep::Abort => c::rd_kafka_abort_transaction(client, timeout),
        }
    };
    OutboundError::take(error).map_or(Ok(()), Err)
}

/// Adds positions of a group to the transaction, in the name of a member of a generation.
pub(in crate::kafka::librdkafka) fn outbound_offsets(
    client: &Writer,
    positions: &TopicPartitionList,
    (group, generation, member): (&str, i32, &str),
    timeout: Duration,
) -> Result<(), OutboundError> {
    let text = |text: &str| CString::new(text).unwrap_or_default();
    let (group, member) = (text(group), text(member));
    // SAFETY: client, list and texts are alive; what says who the member is is made here and freed here.
    let error = unsafe {
        let who = c::rd_kafka_consumer_group_metadata_new_with_genid(group.as_ptr(), generation, member.as_ptr(), ptr::null());
        let error = c::rd_kafka_send_offsets_to_transaction(client.native_ptr(), positions.ptr(), who, millis(timeout));
        c::rd_kafka_consumer_group_metadata_destroy(who);
        error
    };
    OutboundError::take(error).map_or(Ok(()), Err)
}

/// Settings of a topic, as the cluster has them.
pub(in crate::kafka::librdkafka) fn topic_settings(
    client: &Writer,
    topic: &str,
    timeout: Duration,
) -> Result<Vec<(String, String)>, RDKafkaErrorCode> {
    let name = CString::new(topic).map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
    let client = client.native_ptr();
    // SAFETY: the client is alive; what is asked with is made here and freed here, and nothing of the answer is kept.
    unsafe {
        let mut asked = c::rd_kafka_ConfigResource_new(c::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, name.as_ptr());
        let queue = c::rd_kafka_queue_new(client);
        let options = c::rd_kafka_AdminOptions_new(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
        let mut text = [0; 256];
        c::rd_kafka_AdminOptions_set_request_timeout(options, millis(timeout), text.as_mut_ptr(), text.len());
        c::rd_kafka_DescribeConfigs(client, &raw mut asked, 1, options, queue);
        // A little later than the request's own time-out, so that the answer is always read.
        let event = c::rd_kafka_queue_poll(queue, millis(timeout + Duration::from_secs(2)));
        let answer = if event.is_null() { Err(RDKafkaErrorCode::OperationTimedOut) } else { settings_of(event) };
        if !event.is_null() {
            c::rd_kafka_event_destroy(event);
        }
        c::rd_kafka_AdminOptions_destroy(options);
        c::rd_kafka_queue_destroy(queue);
        c::rd_kafka_ConfigResource_destroy(asked);
        answer
    }
}

/// # Safety
/// `event` is the answer to `rd_kafka_DescribeConfigs` about one topic.
unsafe fn settings_of(event: *mut c::rd_kafka_event_t) -> Result<Vec<(String, String)>, RDKafkaErrorCode> {
    // SAFETY: promised by the caller; what is read here belongs to the event, and texts end with a zero.
    unsafe {
        checked(c::rd_kafka_event_error(event))?;
        let mut count = 0;
        let resources = c::rd_kafka_DescribeConfigs_result_resources(c::rd_kafka_event_DescribeConfigs_result(event), &raw mut count);
        if count == 0 {
            return Ok(Vec::new());
        }
        checked(c::rd_kafka_ConfigResource_error(*resources))?;
        let entries = c::rd_kafka_ConfigResource_configs(*resources, &raw mut count);
        let entries = if count == 0 { &[][..] } else { slice::from_raw_parts(entries, count) };
        let text = |text: *const c_char| {
            if text.is_null() { String::new() } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        };
        Ok(entries.iter().map(|entry| (text(c::rd_kafka_ConfigEntry_name(*entry)), text(c::rd_kafka_ConfigEntry_value(*entry)))).collect())
    }
}
