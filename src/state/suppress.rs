//! The handle of a suppression buffer.

use std::sync::{Arc, Mutex};

use crate::record::Data;
use crate::serdes::{DefaultSerde, SharedSerde, shared_default};
use crate::state::buffer_core::BufferCore;
use crate::state::codec::Codecs;
use crate::state::control::Control;
use crate::state::lock::lock;
use crate::state::open::Opened;
use crate::state::spec::StoreKind;
use crate::state::store_ref::{DefaultStore, Kind, OpenedStore, Opening, Store, sealed};

/// Updates held back by `suppress`. It can be counted, not read.
pub struct SuppressStore<K, V> {
    core: Arc<Mutex<BufferCore>>,
    codecs: Arc<Codecs<K, V>>,
}

impl<K, V> Clone for SuppressStore<K, V> {
    fn clone(&self) -> Self {
        SuppressStore { core: self.core.clone(), codecs: self.codecs.clone() }
    }
}

impl<K: Data, V: Data> SuppressStore<K, V> {
    /// How many keys are held back.
    pub fn len(&self) -> usize {
        lock(&self.core).num_records()
    }
    /// Whether nothing is held back.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub(crate) fn core(&self) -> &Arc<Mutex<BufferCore>> {
        &self.core
    }
    pub(crate) fn codecs(&self) -> &Arc<Codecs<K, V>> {
        &self.codecs
    }
}

impl<K, V> sealed::Sealed for SuppressStore<K, V> {}

impl<K: Data, V: Data> Store for SuppressStore<K, V> {
    type View = Self;
    type Serdes = (SharedSerde<K>, SharedSerde<V>);
    const KIND: Kind = Kind(StoreKind::Buffer);
    fn open(serdes: &Self::Serdes, how: Opening<'_>) -> OpenedStore {
        let how = how.0;
        let name = how.name.clone();
        let codecs = Arc::new(Codecs::new(name.clone(), how.changelog_topic, serdes, how.spec.stamped));
        let store = SuppressStore { core: Arc::new(Mutex::new(BufferCore::open(how))), codecs };
        let control = Arc::new(Control(store.core.clone()));
        OpenedStore(Opened { handle: Arc::new(move || Box::new(store.clone())), control })
    }
    fn view(&self) -> Self::View {
        self.clone()
    }
}

impl<K: Data + DefaultSerde, V: Data + DefaultSerde> DefaultStore for SuppressStore<K, V> {
    fn default_serdes() -> Self::Serdes {
        (shared_default(), shared_default())
    }
}
