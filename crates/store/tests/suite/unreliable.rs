//! A bucket that becomes unreachable at a given write, or is met by somebody else just before one.

use crate::support::Interrupt;
use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Passes everything on until the write of index `at`; then nothing.
#[derive(Debug)]
pub(crate) struct Unreliable {
    inner: Arc<dyn ObjectStore>,
    at: usize,
    cut: Cut,
    writes: AtomicUsize,
    interrupt: Option<Arc<Interrupt>>,
}

/// Whether the last write arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    Before,
    After,
}

impl Unreliable {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, at: usize, cut: Cut) -> Arc<Unreliable> {
        Arc::new(Unreliable { inner, at, cut, writes: AtomicUsize::new(0), interrupt: None })
    }

    /// Reliable, but `interrupt` sees the path of every write before it is made.
    pub(crate) fn interrupted(inner: Arc<dyn ObjectStore>, interrupt: Arc<Interrupt>) -> Arc<Unreliable> {
        let writes = AtomicUsize::new(0);
        Arc::new(Unreliable { inner, at: usize::MAX, cut: Cut::Before, writes, interrupt: Some(interrupt) })
    }

    /// Number of writes and deletions seen.
    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    /// Whether the next write arrives and whether its answer does.
    fn write(&self) -> (bool, bool) {
        let index = self.writes.fetch_add(1, Ordering::Relaxed);
        (index < self.at || index == self.at && self.cut == Cut::After, index < self.at)
    }

    fn read(&self) -> Result<()> {
        if self.writes() > self.at { Err(gone()) } else { Ok(()) }
    }
}

fn gone() -> Error {
    Error::Generic { store: "unreliable", source: "the network is gone".into() }
}

#[async_trait]
impl ObjectStore for Unreliable {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if let Some(interrupt) = &self.interrupt {
            interrupt.meet(location.as_ref());
        }
        let (arrives, answered) = self.write();
        let result = if arrives { self.inner.put_opts(location, payload, options).await } else { Err(gone()) };
        if answered { result } else { Err(gone()) }
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        unreachable!("the store writes objects whole")
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read()?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (arrives, answered) = self.write();
        if !arrives {
            return futures::stream::once(async { Err(gone()) }).boxed();
        }
        let deleted = self.inner.delete_stream(locations);
        if answered { deleted } else { deleted.map(|_| Err(gone())).boxed() }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.read() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.read()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        unreachable!("the store copies nothing")
    }
}

impl fmt::Display for Unreliable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unreliable")
    }
}
