//! Compression of HTTP bodies, and what keeps unpacking within bounds.

use std::io::{self, Read as _, Write as _};

use flate2::{read::GzDecoder, write::GzEncoder};

use super::settings::Compression;

/// A window of 8 MiB, the most that RFC 9659 allows for zstd over HTTP.
const MAX_WINDOW_LOG: u32 = 23;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    /// All of them.
    pub(super) const ALL: [Self; 2] = [Self::Gzip, Self::Zstd];

    /// That of requests.
    pub(super) const fn of(compression: Compression) -> Option<Self> {
        match compression {
            Compression::None => None,
            Compression::Gzip => Some(Self::Gzip),
            Compression::Zstd => Some(Self::Zstd),
        }
    }

    /// What `Content-Encoding` calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Packs a body.
    pub(super) fn pack(self, plain: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(plain)?;
                encoder.finish()
            }
            Self::Zstd => zstd::bulk::compress(plain, zstd::DEFAULT_COMPRESSION_LEVEL),
        }
    }

    /// Unpacks at most so many bytes: what could be unpacked, and whether anything was wrong.
    pub(super) fn unpack(self, packed: &[u8], limit: usize) -> (Vec<u8>, io::Result<()>) {
        let mut plain = Vec::new();
        let limit = limit as u64;
        let read = match self {
            Self::Gzip => GzDecoder::new(packed).take(limit).read_to_end(&mut plain),
            Self::Zstd => {
                unzstd(packed).and_then(|decoder| decoder.take(limit).read_to_end(&mut plain))
            }
        };
        (plain, read.map(drop))
    }
}

fn unzstd(packed: &[u8]) -> io::Result<impl io::Read> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    Ok(decoder)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_more_is_unpacked_than_asked_for() {
        for packing in Packing::ALL {
            let bomb = packing.pack(&vec![0; 64 << 20]).unwrap();
            assert!(bomb.len() < 1 << 17, "{packing:?}: {}", bomb.len());
            let (plain, read) = packing.unpack(&bomb, 1_000);
            assert_eq!((plain.len(), read.is_ok()), (1_000, true), "{packing:?}");
        }
    }

    #[test]
    fn a_window_larger_than_http_allows_is_refused() {
        // A frame's head: the magic number, no size of the content, a window of 16 MiB; then one last block of one byte.
        let frame = |window: u8| {
            let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, window << 3];
            frame.extend([1 | 1 << 3, 0, 0, b'x']);
            frame
        };
        // 1 KiB, doubled so many times.
        let (plain, read) = Packing::Zstd.unpack(&frame(13), 10);
        assert_eq!((plain.as_slice(), read.is_ok()), (&b"x"[..], true));
        for window in [14, 17, 21] {
            let (plain, read) = Packing::Zstd.unpack(&frame(window), 10);
            assert!(plain.is_empty());
            assert!(read.unwrap_err().to_string().contains("memory"), "{window}");
        }
    }

    #[test]
    fn what_is_cut_short_is_unpacked_as_far_as_it_goes() {
        let mut random = fastrand::Rng::with_seed(1);
        let plain: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
            .take(1 << 20)
            .collect();
        for packing in Packing::ALL {
            let packed = packing.pack(&plain).unwrap();
            let (beginning, read) = packing.unpack(&packed[..packed.len() / 2], 1 << 20);
            assert!(read.is_err(), "{packing:?}");
            assert!(
                !beginning.is_empty() && plain.starts_with(&beginning),
                "{packing:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_unpacks(plain: Vec<u8>) {
            for packing in Packing::ALL {
                let packed = packing.pack(&plain).unwrap();
                let (unpacked, read) = packing.unpack(&packed, plain.len() + 1);
                prop_assert!(read.is_ok());
                prop_assert_eq!(&unpacked, &plain);
            }
        }

        #[test]
        fn anything_is_unpacked_or_refused(nonsense: Vec<u8>, limit in 0_usize..1_000) {
            for packing in Packing::ALL {
                let mut packed = packing.pack(b"").unwrap();
                packed.truncate(4);
                packed.extend(&nonsense);
                for bytes in [&nonsense, &packed] {
                    prop_assert!(packing.unpack(bytes, limit).0.len() <= limit);
                }
            }
        }
    }
}
