//! The EROFS builder: the same tree and options give the same bytes.
