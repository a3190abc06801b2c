//! What may be swapped in an EROFS image: fingerprints.
