//! From bytes to what is stored of them. Pure: nothing here knows a file, an address or an order.
//!
//! Two rows: [`plain`], for what is stored as it is, and [`pcluster`], for what is compressed; `own` keeps
//! the rules of parts that others refer to. [`codecs`] says which of them a file gets, and makes the
//! encoders.

pub(crate) mod codecs;
pub(crate) mod own;
pub(crate) mod pcluster;
pub(crate) mod plain;
