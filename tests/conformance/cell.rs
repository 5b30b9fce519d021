//! What the keys and values of tables have in common: plain ones, windowed keys, and the numbers that `count` makes.

use highwater::{Data, Headers, Serde, SerdeError, SessionWindow, Slot, TimeWindow, Timestamp, Windowed};

use super::value::{Type, Val, ValSerde, num};

/// A key or value type of a table: the functions see it as a [`Val`].
pub(crate) trait Cell: Data + Sync {
    fn val(&self) -> Val;
    fn from_val(val: Val) -> Self;
    /// What stands for null, if there can be one.
    fn null() -> Option<Self> {
        None
    }
}

impl Cell for Val {
    fn val(&self) -> Val {
        self.clone()
    }
    fn from_val(val: Val) -> Self {
        val
    }
    fn null() -> Option<Self> {
        Some(Val::Null)
    }
}

impl Cell for i64 {
    fn val(&self) -> Val {
        Val::Long(*self)
    }
    fn from_val(val: Val) -> Self {
        num(&val)
    }
}

impl Cell for Windowed<Val> {
    fn val(&self) -> Val {
        Val::windowed(self.key.clone(), self.window.start.as_millis(), self.window.end.as_millis(), false)
    }
    fn from_val(val: Val) -> Self {
        let Val::Windowed(w) = val else { panic!("{val:?} has no window") };
        Windowed { key: w.key, window: TimeWindow { start: Timestamp::from_millis(w.start), end: Timestamp::from_millis(w.end) } }
    }
}

impl Cell for Windowed<Val, SessionWindow> {
    fn val(&self) -> Val {
        Val::windowed(self.key.clone(), self.window.start.as_millis(), self.window.end.as_millis(), true)
    }
    fn from_val(val: Val) -> Self {
        let Val::Windowed(w) = val else { panic!("{val:?} has no window") };
        Windowed { key: w.key, window: SessionWindow { start: Timestamp::from_millis(w.start), end: Timestamp::from_millis(w.end) } }
    }
}

/// The serde of a scenario type for any kind of cell.
#[derive(Clone, Debug)]
pub(crate) struct CellSerde(ValSerde);

impl CellSerde {
    pub(crate) fn of(kind: &Type) -> CellSerde {
        CellSerde(ValSerde(kind.clone()))
    }
}

impl<C: Cell> Serde<C> for CellSerde {
    fn serialize(&self, value: &C, slot: Slot<'_>, headers: &mut Headers, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.0.serialize(&value.val(), slot, headers, out)
    }
    fn deserialize(&self, bytes: &[u8], slot: Slot<'_>, headers: &Headers) -> Result<C, SerdeError> {
        self.0.deserialize(bytes, slot, headers).map(C::from_val)
    }
    fn deserialize_null(&self) -> Result<C, SerdeError> {
        C::null().ok_or(SerdeError::UnexpectedNull)
    }
    fn is_null(&self, value: &C) -> bool {
        value.val().is_null()
    }
    fn partition_bytes<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        Serde::<Val>::partition_bytes(&self.0, bytes)
    }
}
