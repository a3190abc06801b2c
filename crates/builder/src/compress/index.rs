//! Chooses the form in which the places of a file's pclusters are told.

use erofs_format::FormatError;
use erofs_format::datalayout::lcluster::Shape;
use erofs_format::datalayout::{DataLayout, compact, extents, full};
use erofs_format::extent::{Stored, ZExtent};
use erofs_format::map_header::MapHeader;

use super::body::Form;
use crate::options::IndexForm;

/// The map header with what follows it, and the data layout that says how to read it.
pub(crate) fn encode(list: &[ZExtent], form: &Form) -> Result<(DataLayout, Vec<u8>), FormatError> {
    let shape = Shape {
        size: form.size,
        block_bits: form.block_bits,
        lcluster_bits: form.block_bits.bits(),
        header_end: form.header,
    };
    encode_shaped(list, &shape, form.index)
}

/// The same for lclusters of any size.
pub(crate) fn encode_shaped(
    list: &[ZExtent],
    shape: &Shape,
    form: IndexForm,
) -> Result<(DataLayout, Vec<u8>), FormatError> {
    if let [ZExtent { stored: Stored::Fragment { offset }, .. }] = list {
        let header = MapHeader::Fragment { offset: *offset }.encode(shape.block_bits)?;
        return Ok((DataLayout::CompressedFull, header.to_vec()));
    }
    match form {
        // What a compact index cannot hold, the full one can.
        IndexForm::Compact => match compact::encode(shape, list) {
            Ok(table) => Ok((DataLayout::CompressedCompact, table)),
            Err(_) => full::encode(shape, list).map(|table| (DataLayout::CompressedFull, table)),
        },
        IndexForm::Full => full::encode(shape, list).map(|table| (DataLayout::CompressedFull, table)),
        IndexForm::Extents => extents::encode(shape, list).map(|table| (DataLayout::CompressedFull, table)),
    }
}
