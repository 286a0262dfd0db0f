//! The caller's memory behind safe types. The length protocol of the standard (PKCS#11 v2.40 §5.2) is here, once.
//!
//! Inputs are read, and outputs written, through raw pointers and only while a method runs: the standard allows an
//! application to pass one buffer as both.
#![allow(unsafe_code, reason = "the border to C")]

use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;

use cryptoki_sys::CK_ULONG;

use crate::error::Error;

/// Items that the caller lends for reading.
pub(crate) struct In<'a, T> {
    items: NonNull<T>,
    count: usize,
    is_null: bool,
    lent: PhantomData<&'a T>,
}

impl<T> In<'_, T> {
    /// Checks what can be checked of a pointer and a count.
    ///
    /// # Safety
    /// Unless null, `items` points to `count` initialised items that nobody writes to while this value lives, other
    /// than through an [`Out`] of the same call.
    pub(crate) unsafe fn new(items: *const T, count: CK_ULONG) -> Result<Self, Error> {
        let count = counted::<T>(count)?;
        match NonNull::new(items.cast_mut()) {
            Some(items) if items.is_aligned() => Ok(Self { items, count, is_null: false, lent: PhantomData }),
            None if count == 0 => {
                Ok(Self { items: NonNull::dangling(), count, is_null: true, lent: PhantomData })
            }
            Some(_) | None => Err(Error::ArgumentsBad),
        }
    }

    /// Whether the caller passed no pointer at all.
    pub(crate) fn is_null(&self) -> bool {
        self.is_null
    }

    /// The items.
    pub(crate) fn items(&self) -> &[T] {
        // SAFETY: `new` checked null, alignment and size; its caller promised the rest.
        unsafe { slice::from_raw_parts(self.items.as_ptr(), self.count) }
    }
}

/// How an [`Out`] was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The caller passed no buffer and wants to know the length only.
    Length,
    /// The caller's buffer is large enough.
    Items,
}

/// A buffer of the caller whose length the caller may ask first.
pub(crate) struct Out<'a, T> {
    items: *mut T,
    capacity: usize,
    length: NonNull<CK_ULONG>,
    lent: PhantomData<&'a mut T>,
}

impl<T: Copy> Out<'_, T> {
    /// Checks the pointers and reads the capacity.
    ///
    /// # Safety
    /// Unless null, `length` can be read and written, and `items`, unless null, has room for `*length` items.
    pub(crate) unsafe fn new(items: *mut T, length: *mut CK_ULONG) -> Result<Self, Error> {
        let length = NonNull::new(length).filter(|length| length.is_aligned()).ok_or(Error::ArgumentsBad)?;
        if !items.is_aligned() {
            return Err(Error::ArgumentsBad);
        }
        // SAFETY: not null and aligned; the caller promised that it can be read.
        let capacity = unsafe { length.read() };
        // Without a buffer the length is only ever written: what it held may be anything.
        let capacity = if items.is_null() { 0 } else { counted::<T>(capacity)? };
        Ok(Self { items, capacity, length, lent: PhantomData })
    }

    /// Whether the caller passed no buffer and wants to know the length only.
    pub(crate) fn is_question(&self) -> bool {
        self.items.is_null()
    }

    /// Tells the caller how many items there will be.
    ///
    /// # Errors
    /// [`Error::BufferTooSmall`] when the caller's buffer cannot take them.
    pub(crate) fn ask(&mut self, needed: usize) -> Result<Asked, Error> {
        let value = CK_ULONG::try_from(needed).map_err(|_| Error::General)?;
        // SAFETY: `new` checked null and alignment; its caller promised that it can be written.
        unsafe { self.length.write(value) };
        if self.items.is_null() {
            Ok(Asked::Length)
        } else if needed <= self.capacity {
            Ok(Asked::Items)
        } else {
            Err(Error::BufferTooSmall)
        }
    }

    /// Gives the caller the items, or their number when that was the question.
    ///
    /// # Errors
    /// [`Error::BufferTooSmall`] when the caller's buffer cannot take them: nothing but the length is written.
    pub(crate) fn give(&mut self, items: &[T]) -> Result<Asked, Error> {
        let asked = self.ask(items.len())?;
        if asked == Asked::Items {
            // SAFETY: `ask` found room for as many; `items` is our own memory, so the two do not overlap.
            unsafe { ptr::copy_nonoverlapping(items.as_ptr(), self.items, items.len()) };
        }
        Ok(asked)
    }
}

/// A place of the caller for one value.
pub(crate) struct Put<'a, T> {
    place: NonNull<T>,
    lent: PhantomData<&'a mut T>,
}

impl<T: Copy> Put<'_, T> {
    /// Checks the pointer.
    ///
    /// # Safety
    /// Unless null, `place` can be written.
    pub(crate) unsafe fn new(place: *mut T) -> Result<Self, Error> {
        let place = NonNull::new(place).filter(|place| place.is_aligned()).ok_or(Error::ArgumentsBad)?;
        Ok(Self { place, lent: PhantomData })
    }

    /// Gives the caller the value.
    pub(crate) fn put(&mut self, value: T) {
        // SAFETY: `new` checked null and alignment; its caller promised that it can be written.
        unsafe { self.place.write(value) };
    }
}

/// A buffer of the caller that is to be filled from its start, as far as there is something.
pub(crate) struct Fill<'a, T> {
    items: NonNull<T>,
    capacity: usize,
    filled: usize,
    lent: PhantomData<&'a mut T>,
}

impl<T: Copy> Fill<'_, T> {
    /// Checks the pointer and the count.
    ///
    /// # Safety
    /// Unless null, `items` has room for `count` items.
    pub(crate) unsafe fn new(items: *mut T, count: CK_ULONG) -> Result<Self, Error> {
        let capacity = counted::<T>(count)?;
        let items = match NonNull::new(items) {
            Some(items) if items.is_aligned() => items,
            None if capacity == 0 => NonNull::dangling(),
            Some(_) | None => return Err(Error::ArgumentsBad),
        };
        Ok(Self { items, capacity, filled: 0, lent: PhantomData })
    }

    /// How many items still fit.
    pub(crate) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.filled)
    }

    /// Adds items; those beyond the room are left out.
    pub(crate) fn add(&mut self, items: &[T]) {
        let count = items.len().min(self.room());
        // SAFETY: `filled` is at most `capacity`, for which the caller of `new` promised room.
        let next = unsafe { self.items.add(self.filled) };
        // SAFETY: `count` items fit behind `next`; `items` is our own memory, so the two do not overlap.
        unsafe { ptr::copy_nonoverlapping(items.as_ptr(), next.as_ptr(), count) };
        self.filled = self.filled.saturating_add(count);
    }
}

/// A count that a slice of `T` can have.
fn counted<T>(count: CK_ULONG) -> Result<usize, Error> {
    let count = usize::try_from(count).map_err(|_| Error::ArgumentsBad)?;
    let bytes = count.checked_mul(size_of::<T>()).ok_or(Error::ArgumentsBad)?;
    if isize::try_from(bytes).is_ok() { Ok(count) } else { Err(Error::ArgumentsBad) }
}

#[cfg(test)]
mod tests;
