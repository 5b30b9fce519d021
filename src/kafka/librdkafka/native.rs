//! What the wrapper crate does not offer of the C library, with a safe face. The only unsafe code of this crate.

use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings::{self as c, rd_kafka_message_t, rd_kafka_queue_t, rd_kafka_topic_t};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;

use super::bell::Bell;
use super::context::Context;
use crate::kafka::Isolation;
use crate::record::{Headers, TopicPartition};

/// The client that everything read here comes from.
pub(super) type Reader = BaseConsumer<Context>;

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

/// A topic as a client knows it.
pub(super) struct TopicHandle {
    raw: NonNull<rd_kafka_topic_t>,
    name: CString,
    client: Arc<Reader>,
}

// SAFETY: the library's topic handles may be used from any thread; this one keeps its client alive.
unsafe impl Send for TopicHandle {}
// SAFETY: as above; the library locks them itself.
unsafe impl Sync for TopicHandle {}

impl TopicHandle {
    pub(super) fn new(client: &Arc<Reader>, topic: &str) -> Result<Arc<Self>, RDKafkaErrorCode> {
        let name = CString::new(topic).map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
        // SAFETY: the client is alive, the name ends with a zero, and a null configuration stands for the client's.
        let raw = unsafe { c::rd_kafka_topic_new(client.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
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
        let client = topic.client.client().native_ptr();
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

    /// Whether nothing has come.
    pub(super) fn is_empty(&self) -> bool {
        // SAFETY: the queue is alive.
        unsafe { c::rd_kafka_queue_length(self.raw.as_ptr()) == 0 }
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
        let client = self.topic.client.client().native_ptr();
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

    pub(super) fn headers(&self) -> Headers {
        let mut headers = Headers::default();
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
    #[expect(dead_code, reason = "administrators ask for it")]
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

/// Asks for offsets, all in one go: an offset (-1 if there is none) and its timestamp for each, in the order asked.
pub(super) fn list_offsets(
    client: *mut c::rd_kafka_t,
    wanted: &[(TopicPartition, OffsetSpec)],
    isolation: Isolation,
    timeout: Duration,
) -> Result<Vec<Result<(i64, i64), RDKafkaErrorCode>>, RDKafkaErrorCode> {
    let mut list = rdkafka::TopicPartitionList::with_capacity(wanted.len());
    for (partition, _) in wanted {
        list.add_partition(&partition.topic, partition.partition);
    }
    let level = match isolation {
        Isolation::ReadUncommitted => c::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
        Isolation::ReadCommitted => c::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
    };
    // SAFETY: the caller's client is alive throughout; list, options, queue and event are made here and freed here, and the list has as many
    // elements as `wanted`.
    unsafe {
        for ((_, spec), element) in wanted.iter().zip(slice::from_raw_parts_mut((*list.ptr()).elems, wanted.len())) {
            element.offset = spec.code();
        }
        let queue = c::rd_kafka_queue_new(client);
        let options = c::rd_kafka_AdminOptions_new(client, c::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS);
        let mut text = [0; 256];
        c::rd_kafka_AdminOptions_set_request_timeout(options, millis(timeout), text.as_mut_ptr(), text.len());
        c::rd_kafka_AdminOptions_set_isolation_level(options, level);
        c::rd_kafka_ListOffsets(client, list.ptr(), options, queue);
        // A little later than the request's own time-out, so that the answer is always read.
        let event = c::rd_kafka_queue_poll(queue, millis(timeout + Duration::from_secs(2)));
        let answer = if event.is_null() { Err(RDKafkaErrorCode::OperationTimedOut) } else { offsets_of(event, wanted) };
        if !event.is_null() {
            c::rd_kafka_event_destroy(event);
        }
        c::rd_kafka_AdminOptions_destroy(options);
        c::rd_kafka_queue_destroy(queue);
        answer
    }
}

/// # Safety
/// `event` is the answer to `rd_kafka_ListOffsets`.
unsafe fn offsets_of(
    event: *mut c::rd_kafka_event_t,
    wanted: &[(TopicPartition, OffsetSpec)],
) -> Result<Vec<Result<(i64, i64), RDKafkaErrorCode>>, RDKafkaErrorCode> {
    // SAFETY: promised by the caller; what is read here belongs to the event.
    unsafe {
        checked(c::rd_kafka_event_error(event))?;
        let result = c::rd_kafka_event_ListOffsets_result(event);
        let mut count = 0;
        let infos = c::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
        let infos = if count == 0 { &[][..] } else { slice::from_raw_parts(infos, count) };
        let mut found = std::collections::HashMap::with_capacity(count);
        for info in infos {
            let element = &*c::rd_kafka_ListOffsetsResultInfo_topic_partition(*info);
            let topic = CStr::from_ptr(element.topic).to_string_lossy();
            let answer = checked(element.err).map(|()| (element.offset, c::rd_kafka_ListOffsetsResultInfo_timestamp(*info)));
            found.insert(TopicPartition::new(&*topic, element.partition), answer);
        }
        Ok(wanted.iter().map(|(partition, _)| found.get(partition).cloned().unwrap_or(Err(RDKafkaErrorCode::UnknownPartition))).collect())
    }
}
