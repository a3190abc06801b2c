//! The directory source against directories made for it.

#[cfg(test)]
mod change;
#[cfg(test)]
mod kinds;
#[cfg(test)]
mod order;
#[cfg(test)]
mod shaped;
#[cfg(test)]
mod support;
#[cfg(test)]
mod untrusted;
mod xattrs;
