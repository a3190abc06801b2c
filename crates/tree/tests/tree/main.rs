//! Trees by themselves: what they promise, how they are changed, and how one lies over another.

#[cfg(test)]
mod merge;
#[cfg(test)]
mod model;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod shaped;
