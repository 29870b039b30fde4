//! What is made of files, and made anew when they change, as certificates do where somebody renews them. A leaf.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::file_stamp::FileStamp;

/// Why something is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// There is none yet.
    Start,
    /// Its files changed.
    Change,
}

type Stamps = Vec<Option<FileStamp>>;

/// Something, and the files it was made of.
pub(crate) struct Renewable<T, E> {
    value: T,
    make: Arc<dyn Fn(Occasion) -> Result<T, E> + Send + Sync>,
    paths: Arc<[PathBuf]>,
    stamps: Stamps,
    /// Those that could not be used, of which was told.
    refused: Option<Stamps>,
}

/// What a look at the files came to.
#[derive(Debug)]
pub(crate) enum Look<E> {
    /// Nothing new.
    Same,
    /// It was made anew.
    Renewed,
    /// The files are others than before and cannot be used: it stays what it was. Told once of the same files, which are looked at again.
    Refused(E),
}

impl<T: Send + 'static, E: Send + 'static> Renewable<T, E> {
    /// Makes it for the first time.
    pub(crate) fn new(
        paths: Vec<PathBuf>,
        make: impl Fn(Occasion) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        // Before they are read: a change in between is noticed later.
        let stamps = stamps(&paths);
        Ok(Self {
            value: make(Occasion::Start)?,
            make: Arc::new(make),
            paths: paths.into(),
            stamps,
            refused: None,
        })
    }

    /// Looks whether a file is another one than before.
    pub(crate) async fn look(&mut self) -> Look<E> {
        if self.paths.is_empty() {
            return Look::Same;
        }
        let (make, paths) = (Arc::clone(&self.make), Arc::clone(&self.paths));
        let known = self.stamps.clone();
        // Files may be slow.
        let looked = spawn_blocking(move || {
            let stamps = stamps(&paths);
            (stamps != known).then(|| (stamps, make(Occasion::Change)))
        });
        match looked.await {
            Ok(Some((stamps, Ok(value)))) => {
                self.value = value;
                self.stamps = stamps;
                Look::Renewed
            }
            Ok(Some((stamps, Err(error)))) if self.refused.as_ref() != Some(&stamps) => {
                self.refused = Some(stamps);
                Look::Refused(error)
            }
            _ => Look::Same,
        }
    }

    pub(crate) const fn get(&self) -> &T {
        &self.value
    }

    pub(crate) const fn get_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug, E> fmt::Debug for Renewable<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewable")
            .field("value", &self.value)
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

fn stamps(paths: &[PathBuf]) -> Stamps {
    paths.iter().map(|path| FileStamp::of(path)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_change_is_taken_up_unless_it_cannot_be() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let source = path.clone();
        let make = move |_: Occasion| fs::read_to_string(&source).map_err(|error| error.kind());
        let paths = vec![path.clone()];
        assert!(Renewable::new(paths.clone(), make.clone()).is_err());
        fs::write(&path, "a").unwrap();
        let mut renewable = Renewable::new(paths, make).unwrap();
        assert!(matches!(renewable.look().await, Look::Same));
        fs::write(&path, "bc").unwrap();
        assert!(matches!(renewable.look().await, Look::Renewed));
        assert_eq!(renewable.get(), "bc");
        fs::remove_file(&path).unwrap();
        assert!(matches!(renewable.look().await, Look::Refused(_)));
        assert!(matches!(renewable.look().await, Look::Same), "told twice");
        fs::write(&path, "d").unwrap();
        assert!(matches!(renewable.look().await, Look::Renewed));
        assert_eq!(renewable.get_mut(), "d");
        assert!(matches!(renewable.look().await, Look::Same));
    }
}
