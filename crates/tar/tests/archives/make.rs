//! Archives made byte by byte, so that they can be as no program writes them.

/// A header before its checksum.
#[derive(Clone)]
pub(crate) struct Head(pub(crate) [u8; 512]);

pub(crate) const USTAR: &[u8] = b"ustar\x0000";
pub(crate) const GNU: &[u8] = b"ustar  \0";

/// A ustar header.
pub(crate) fn head(kind: u8, path: &[u8], size: u64) -> Head {
    let mut head = Head([0; 512]);
    head.0[156] = kind;
    head.put(0, path)
        .put(100, b"0000644\0")
        .put(108, b"0000000\0")
        .put(116, b"0000000\0")
        .put(124, format!("{size:011o}\0").as_bytes())
        .put(136, b"00000001750\0")
        .put(257, USTAR)
}

impl Head {
    pub(crate) fn put(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub(crate) fn link(self, target: &[u8]) -> Self {
        self.put(157, target)
    }

    pub(crate) fn gnu(self) -> Self {
        self.put(257, GNU)
    }

    pub(crate) fn v7(self) -> Self {
        self.put(257, &[0; 8])
    }

    /// The block with its checksum.
    pub(crate) fn done(self) -> Vec<u8> {
        let mut block = self.put(148, b"        ").0;
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block.to_vec()
    }

    /// The block with its checksum, and a content.
    pub(crate) fn with(self, content: &[u8]) -> Vec<u8> {
        [self.done(), padded(content)].concat()
    }
}

pub(crate) fn padded(content: &[u8]) -> Vec<u8> {
    let mut padded = content.to_vec();
    padded.resize(content.len().next_multiple_of(512), 0);
    padded
}

/// A regular file.
pub(crate) fn file(path: &[u8], content: &[u8]) -> Vec<u8> {
    head(b'0', path, content.len() as u64).with(content)
}

/// A PAX record.
pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    length = rest + length.to_string().len();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// A header of PAX records: of type `x` or `g`.
pub(crate) fn pax(kind: u8, records: &[(&str, &[u8])]) -> Vec<u8> {
    raw_pax(kind, &records.iter().flat_map(|(key, value)| record(key, value)).collect::<Vec<_>>())
}

pub(crate) fn raw_pax(kind: u8, content: &[u8]) -> Vec<u8> {
    head(kind, b"pax", content.len() as u64).with(content)
}

/// A long name (`L`) or a long target (`K`) of GNU tar.
pub(crate) fn long(kind: u8, name: &[u8]) -> Vec<u8> {
    head(kind, b"././@LongLink", name.len() as u64 + 1).gnu().with(&[name, b"\0"].concat())
}

pub(crate) const END: [u8; 1024] = [0; 1024];

/// The parts with an end marker.
pub(crate) fn archive(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), END.to_vec()].concat()
}
