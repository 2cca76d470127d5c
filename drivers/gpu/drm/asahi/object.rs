// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Values in memory that is shared with the firmware or the GPU.
//!
//! The other side may write to such memory at any time, so there are never references to it:
//! [`fw_read!`](crate::fw_read), [`fw_write!`](crate::fw_write) and the methods of [`GpuArray`]
//! access it volatile, [`fw_atomic!`](crate::fw_atomic) atomically. What is read is a copy, to be
//! checked before it is used.

use core::marker::PhantomData;

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        AtomicType, //
    },
    transmute::FromBytes, //
};

use crate::alloc::{
    Allocation,
    Heap,
    GRANULE, //
};

/// One value.
pub(crate) struct GpuObject<T> {
    mem: Allocation,
    _type: PhantomData<fn(T) -> T>,
}

impl<T: FromBytes> GpuObject<T> {
    const ALIGNED: () = assert!(align_of::<T>() <= GRANULE);

    /// Makes a value of zero bytes.
    pub(crate) fn zeroed(heap: &Heap) -> Result<Self> {
        let () = Self::ALIGNED;

        Ok(Self {
            mem: heap.alloc(size_of::<T>())?,
            _type: PhantomData,
        })
    }

    /// Makes a value.
    pub(crate) fn new(heap: &Heap, value: T) -> Result<Self> {
        Self::new_with(heap, |_| Ok(value))
    }

    /// Makes a value that depends on its own address.
    pub(crate) fn new_with(heap: &Heap, value: impl FnOnce(u64) -> Result<T>) -> Result<Self> {
        let object = Self::zeroed(heap)?;
        let value = value(object.gpu_va())?;

        // SAFETY: The memory is large enough, aligned and valid for writes.
        unsafe { object.as_ptr().write_volatile(value) };
        Ok(object)
    }
}

impl<T> GpuObject<T> {
    /// The address for the firmware and the GPU.
    pub(crate) fn gpu_va(&self) -> u64 {
        self.mem.gpu_va()
    }

    /// The address of the field at `offset`, as `offset_of!` tells it.
    pub(crate) fn field_va(&self, offset: usize) -> u64 {
        debug_assert!(offset < size_of::<T>());
        self.mem.gpu_va() + offset as u64
    }

    /// The address for the driver, which is valid as long as `self` exists.
    pub(crate) fn as_ptr(&self) -> *mut T {
        self.mem.as_ptr().cast()
    }
}

/// Reads a field that the other side may be writing.
///
/// # Safety
///
/// `ptr` must be valid for reads and aligned.
#[doc(hidden)]
#[inline(always)]
pub(crate) unsafe fn read_field<F: FromBytes>(ptr: *const F) -> F {
    // SAFETY: By the requirements of this function; any bytes are a valid value.
    unsafe { ptr.read_volatile() }
}

/// Writes a field that the other side may be reading.
///
/// # Safety
///
/// `ptr` must be valid for writes and aligned.
#[doc(hidden)]
#[inline(always)]
pub(crate) unsafe fn write_field<F: FromBytes>(ptr: *mut F, value: F) {
    // SAFETY: By the requirements of this function.
    unsafe { ptr.write_volatile(value) }
}

/// Makes a field accessible atomically for as long as its object exists.
///
/// # Safety
///
/// `field` must be a field of `object`, aligned, and nothing but atomic and volatile accesses may
/// be made to it.
#[doc(hidden)]
#[inline(always)]
pub(crate) unsafe fn atomic_field<T, F: AtomicType>(
    _object: &GpuObject<T>,
    field: *mut F,
) -> &Atomic<F> {
    // SAFETY: By the requirements of this function.
    unsafe { Atomic::from_ptr(field) }
}

/// Reads a field of a [`GpuObject`](crate::object::GpuObject).
///
/// The field is given as for `kernel::ptr::project!`: `fw_read!(object, .array[try: 3].field)`.
#[macro_export]
macro_rules! fw_read {
    ($object:expr, $($field:tt)*) => {{
        let ptr = $object.as_ptr().cast_const();
        let field = ::kernel::ptr::project!(ptr, $($field)*);
        // SAFETY: A field of an object is valid as the object is, and aligned.
        unsafe { $crate::object::read_field(field) }
    }};
}

/// Writes a field of a [`GpuObject`](crate::object::GpuObject): see [`fw_read!`].
#[macro_export]
macro_rules! fw_write {
    ($object:expr, $($rest:tt)*) => {
        $crate::fw_write_split!($object, [], $($rest)*)
    };
}

/// Separates the field from the value.
#[doc(hidden)]
#[macro_export]
macro_rules! fw_write_split {
    ($object:expr, [$($field:tt)*], , $value:expr) => {{
        let value = $value;
        let ptr = $object.as_ptr();
        let field = ::kernel::ptr::project!(mut ptr, $($field)*);
        // SAFETY: A field of an object is valid as the object is, and aligned.
        unsafe { $crate::object::write_field(field, value) }
    }};
    ($object:expr, [$($field:tt)*], $next:tt $($rest:tt)*) => {
        $crate::fw_write_split!($object, [$($field)* $next], $($rest)*)
    };
}

/// Gives a field of a [`GpuObject`](crate::object::GpuObject) as an atomic: see [`fw_read!`].
#[macro_export]
macro_rules! fw_atomic {
    ($object:expr, $($field:tt)*) => {{
        let object = &$object;
        let ptr = object.as_ptr();
        let field = ::kernel::ptr::project!(mut ptr, $($field)*);
        // SAFETY: A field of an object is valid as the object is, and aligned. Objects are accessed
        // volatile or atomically only.
        unsafe { $crate::object::atomic_field(object, field) }
    }};
}

/// Several values.
pub(crate) struct GpuArray<T> {
    mem: Allocation,
    len: usize,
    _type: PhantomData<fn(T) -> T>,
}

impl<T: FromBytes> GpuArray<T> {
    const ALIGNED: () = assert!(align_of::<T>() <= GRANULE);

    /// Makes an array of zero bytes.
    pub(crate) fn zeroed(heap: &Heap, len: usize) -> Result<Self> {
        let () = Self::ALIGNED;
        let size = len.checked_mul(size_of::<T>()).ok_or(EINVAL)?;

        Ok(Self {
            mem: heap.alloc(size)?,
            len,
            _type: PhantomData,
        })
    }

    /// The address for the firmware and the GPU.
    pub(crate) fn gpu_va(&self) -> u64 {
        self.mem.gpu_va()
    }

    /// The address of an element for the driver, which is valid as long as `self` exists.
    pub(crate) fn ptr(&self, index: usize) -> Result<*mut T> {
        if index >= self.len {
            return Err(ERANGE);
        }
        Ok(self.mem.as_ptr().cast::<T>().wrapping_add(index))
    }

    /// Reads an element.
    pub(crate) fn read(&self, index: usize) -> Result<T> {
        // SAFETY: The pointer is to an element, and any bytes are a valid value.
        Ok(unsafe { self.ptr(index)?.read_volatile() })
    }

    /// Writes an element.
    pub(crate) fn write(&self, index: usize, value: T) -> Result {
        // SAFETY: The pointer is to an element.
        unsafe { self.ptr(index)?.write_volatile(value) };
        Ok(())
    }
}

/// A blob: bytes in which fields are found by their offset.
pub(crate) type GpuBlob = GpuArray<u8>;

impl GpuBlob {
    /// Makes a copy of a blob.
    pub(crate) fn copy_of(heap: &Heap, bytes: &[u8]) -> Result<Self> {
        let blob = Self::zeroed(heap, bytes.len())?;

        // SAFETY: The blob is as long as the bytes and new.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), blob.mem.as_ptr(), bytes.len()) };
        Ok(blob)
    }

    /// The address of a field for the driver.
    fn field<F>(&self, offset: usize) -> Result<*mut F> {
        let end = offset.checked_add(size_of::<F>()).ok_or(ERANGE)?;

        if end > self.len || offset % align_of::<F>() != 0 {
            return Err(ERANGE);
        }
        // Blobs are aligned to granules.
        Ok(self.mem.as_ptr().wrapping_add(offset).cast())
    }

    /// Reads a field.
    pub(crate) fn get<F: FromBytes>(&self, offset: usize) -> Result<F> {
        // SAFETY: The field is in the blob and aligned.
        Ok(unsafe { read_field(self.field::<F>(offset)?) })
    }

    /// Writes a field.
    pub(crate) fn set<F: FromBytes>(&self, offset: usize, value: F) -> Result {
        // SAFETY: The field is in the blob and aligned.
        unsafe { write_field(self.field::<F>(offset)?, value) };
        Ok(())
    }

    /// Gives a field as an atomic.
    pub(crate) fn atomic<F: AtomicType>(&self, offset: usize) -> Result<&Atomic<F>> {
        // SAFETY: The field is in the blob and aligned, and blobs are accessed volatile or
        // atomically only.
        Ok(unsafe { Atomic::from_ptr(self.field::<F>(offset)?) })
    }
}
