//! One of something for each repository of a run. Mostly there is one, and it takes no memory of its own.

use std::ops::{Deref, DerefMut};

use crate::error::Result;

/// As many as there are repositories, in their order.
#[derive(Debug, Clone)]
pub enum Each<T> {
    /// For the only one.
    One(T),
    /// For several.
    Many(Vec<T>),
}

impl<T> Each<T> {
    /// For `n` repositories.
    pub fn of(n: usize, mut make: impl FnMut(usize) -> T) -> Self {
        match n {
            1 => Self::One(make(0)),
            _ => Self::Many((0..n).map(make).collect()),
        }
    }
    /// The same, until the first error.
    pub fn try_of(n: usize, mut make: impl FnMut(usize) -> Result<T>) -> Result<Self> {
        match n {
            1 => make(0).map(Self::One),
            _ => (0..n).map(make).collect::<Result<_>>().map(Self::Many),
        }
    }
}

impl<T> Deref for Each<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl<T> DerefMut for Each<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::One(one) => std::slice::from_mut(one),
            Self::Many(many) => many,
        }
    }
}
