// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Fences.
//!
//! A fence stands for the completion of work on a device, and goes once from pending to signalled.
//! Drivers, user space and other devices wait for each other by means of them, and all of that
//! hangs together: a fence that is published has to be signalled within bounded time, whatever
//! happens, and nothing on the way there may wait for memory reclaim, since reclaim may wait for
//! fences.
//!
//! The types here are made for that:
//!
//! - What needs memory is done first: a [`FenceSlot`] is the memory for a fence, a [`FenceCb`] that
//!   for a callback, and neither [`FenceContext::arm`] nor [`FenceCb::arm`] can fail for want of
//!   it.
//! - A fence has one [`DriverFence`], which signals it: on request, or else when it is dropped.
//! - A [`DriverFence`] keeps its driver's data next to the fence instead of in it, and the fence
//!   has copies of its names. So there is nothing of a driver in its fences, neither code nor data:
//!   a fence may stay in a sync object of a client for ever without keeping the driver from being
//!   unloaded.
//!
//! C header: [`include/linux/dma-fence.h`](srctree/include/linux/dma-fence.h)

use crate::{
    alloc::Flags,
    bindings,
    prelude::*,
    sync::{
        aref::{
            ARef,
            AlwaysRefCounted, //
        },
        atomic::{
            Atomic,
            Relaxed, //
        },
        barrier, //
    },
    time::Jiffies,
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::NonNull, //
};

/// A fence, whoever signals it.
#[repr(transparent)]
pub struct Fence(Opaque<bindings::dma_fence>);

// SAFETY: The reference count keeps a fence alive.
unsafe impl AlwaysRefCounted for Fence {
    fn inc_ref(&self) {
        // SAFETY: A reference to a fence shows that its reference count is not zero.
        unsafe { bindings::dma_fence_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller has a reference, and gives it up.
        unsafe { bindings::dma_fence_put(obj.as_ptr().cast()) };
    }
}

// SAFETY: Fences are meant to be passed around, and released anywhere.
unsafe impl Send for Fence {}

// SAFETY: Everything that can be done to a `&Fence` does its own locking.
unsafe impl Sync for Fence {}

impl Fence {
    /// Returns a fence for a pointer of the C side's.
    ///
    /// # Safety
    ///
    /// `ptr` must point to a fence that was initialized, and is referenced during `'a`.
    pub unsafe fn from_raw<'a>(ptr: *mut bindings::dma_fence) -> &'a Self {
        // SAFETY: `Fence` is a transparent wrapper of a `struct dma_fence`, and the rest is what
        // the caller promises.
        unsafe { &*ptr.cast() }
    }

    /// Returns the pointer for the C side.
    pub fn as_raw(&self) -> *mut bindings::dma_fence {
        self.0.get()
    }

    /// Returns whether the fence is signalled.
    pub fn is_signaled(&self) -> bool {
        // SAFETY: The pointer is valid, as `self` is a reference.
        unsafe { bindings::dma_fence_is_signaled(self.as_raw()) }
    }

    /// Returns how the fence was signalled, or `None` if it is pending.
    ///
    /// This takes no lock, so that callbacks may ask.
    pub fn status(&self) -> Option<Result> {
        if !self.is_signaled() {
            return None;
        }
        // The error is set before the fence is signalled.
        barrier::smp_mb(barrier::Read);
        // SAFETY: The pointer is valid, as `self` is a reference. The error does not change after
        // the fence has been signalled.
        match unsafe { (&raw const (*self.as_raw()).error).read() } {
            0 => Some(Ok(())),
            errno => Some(Err(Error::from_errno(errno))),
        }
    }

    /// Returns the context, which is the number of the timeline that this fence is on.
    pub fn context(&self) -> u64 {
        // SAFETY: The pointer is valid, as `self` is a reference. The context never changes.
        unsafe { (*self.as_raw()).context }
    }

    /// Returns the place of the fence on its timeline.
    pub fn seqno(&self) -> u64 {
        // SAFETY: The pointer is valid, as `self` is a reference. The number never changes.
        unsafe { (*self.as_raw()).seqno }
    }

    /// Sleeps until the fence is signalled, and returns how much time was left.
    ///
    /// Returns `None` if the time was over before that, and fails with [`ERESTARTSYS`] if it was
    /// interrupted by a signal, which happens only if it is `interruptible`.
    pub fn wait_timeout(&self, interruptible: bool, timeout: Jiffies) -> Result<Option<Jiffies>> {
        // More than this is for ever.
        let timeout = isize::try_from(timeout).unwrap_or(isize::MAX);

        // SAFETY: The pointer is valid, as `self` is a reference. The timeout is not negative.
        let left =
            unsafe { bindings::dma_fence_wait_timeout(self.as_raw(), interruptible, timeout) };

        match Jiffies::try_from(left) {
            Ok(0) => Ok(None),
            Ok(left) => Ok(Some(left)),
            // CAST: Negative error codes fit.
            Err(_) => Err(Error::from_errno(left as c_int)),
        }
    }
}

/// The names of a driver's fences, for debugging and tracing.
///
/// They are cut off after 23 bytes.
pub trait FenceNames: 'static {
    /// The name of the driver.
    const DRIVER: &'static CStr;
    /// The name of the timeline.
    const TIMELINE: &'static CStr;
}

/// A name that is stored with a fence.
type Name = [u8; 24];

fn to_name(from: &CStr) -> Name {
    let mut name = [0; 24];

    // What is left over is at least one byte, which terminates the string.
    for (to, from) in name[..23].iter_mut().zip(from.to_bytes()) {
        *to = *from;
    }

    name
}

/// A fence as it is allocated.
///
/// The C side frees it together with the fence, which therefore has to be the first field.
#[repr(C)]
struct FenceInner {
    fence: bindings::dma_fence,
    driver: Name,
    timeline: Name,
}

/// The operations of all fences, which are part of the kernel rather than of a module.
///
/// There is neither `release` nor `wait`, and then the C side does without the operations from the
/// moment on when a fence is signalled.
static OPS: bindings::dma_fence_ops = bindings::dma_fence_ops {
    get_driver_name: Some(FenceInner::driver_name),
    get_timeline_name: Some(FenceInner::timeline_name),
    enable_signaling: None,
    signaled: None,
    wait: None,
    release: None,
    set_deadline: None,
};

impl FenceInner {
    extern "C" fn driver_name(fence: *mut bindings::dma_fence) -> *const c_char {
        // SAFETY: This is called for fences with these operations, which are the first field of a
        // `FenceInner` and exist.
        unsafe { (&raw const (*fence.cast::<Self>()).driver).cast() }
    }

    extern "C" fn timeline_name(fence: *mut bindings::dma_fence) -> *const c_char {
        // SAFETY: As in `driver_name()`.
        unsafe { (&raw const (*fence.cast::<Self>()).timeline).cast() }
    }
}

/// The memory for one fence.
pub struct FenceSlot(KBox<MaybeUninit<FenceInner>>);

impl FenceSlot {
    /// Allocates the memory.
    pub fn new(flags: Flags) -> Result<Self> {
        Ok(Self(KBox::new_uninit(flags)?))
    }

    // If this were inlined, a module could end up with its own copy of the operations.
    #[inline(never)]
    fn arm(self, context: u64, seqno: u64, driver: Name, timeline: Name) -> DriverFence {
        let inner: *mut FenceInner = KBox::into_raw(self.0).cast();

        // SAFETY: The memory is ours, and was allocated with `kmalloc()` for this fence alone, so
        // that `dma_fence_free()` can free it. The operations are constant, and never go away.
        // There is no lock, the fence has its own.
        unsafe {
            (*inner).driver = driver;
            (*inner).timeline = timeline;
            bindings::dma_fence_init(
                &raw mut (*inner).fence,
                &raw const OPS,
                core::ptr::null_mut(),
                context,
                seqno,
            );
        }

        // SAFETY: `KBox::into_raw()` does not return null.
        let fence = unsafe { NonNull::new_unchecked(inner.cast::<Fence>()) };

        // INVARIANT: Nobody else has the fence yet.
        // SAFETY: We take over the reference that the fence has from its initialization.
        DriverFence(unsafe { ARef::from_raw(fence) })
    }
}

// SAFETY: It is nothing but memory.
unsafe impl Send for FenceSlot {}

// SAFETY: Nothing can be done with a reference to it.
unsafe impl Sync for FenceSlot {}

/// A timeline, on which the fences of one queue are in order.
///
/// # Examples
///
/// ```
/// use kernel::{
///     dma_fence::{
///         FenceContext,
///         FenceNames,
///         FenceSlot, //
///     },
///     sync::aref::ARef, //
/// };
///
/// struct Names;
///
/// impl FenceNames for Names {
///     const DRIVER: &'static CStr = c"example";
///     const TIMELINE: &'static CStr = c"queue";
/// }
///
/// let queue = FenceContext::<Names>::new();
///
/// let first = queue.arm(FenceSlot::new(GFP_KERNEL)?);
/// let second = queue.arm(FenceSlot::new(GFP_KERNEL)?);
/// assert_eq!(first.fence().context(), second.fence().context());
/// assert_eq!(first.fence().seqno() + 1, second.fence().seqno());
///
/// // This is what others wait for.
/// let fence: ARef<_> = first.fence().into();
/// assert!(!fence.is_signaled());
/// assert_eq!(fence.status(), None);
/// first.signal(Ok(()));
/// assert_eq!(fence.status(), Some(Ok(())));
///
/// // A fence that nobody will signal any more is signalled.
/// let fence: ARef<_> = second.fence().into();
/// drop(second);
/// assert_eq!(fence.status(), Some(Err(ECANCELED)));
/// assert_eq!(fence.wait_timeout(false, 10)?, Some(10));
/// # Ok::<(), Error>(())
/// ```
pub struct FenceContext<N: FenceNames> {
    context: u64,
    /// The number of the fence that was made last.
    seqno: Atomic<u64>,
    _names: PhantomData<fn() -> N>,
}

impl<N: FenceNames> Default for FenceContext<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<N: FenceNames> FenceContext<N> {
    /// Makes a new timeline.
    pub fn new() -> Self {
        Self {
            // SAFETY: This just counts.
            context: unsafe { bindings::dma_fence_context_alloc(1) },
            seqno: Atomic::new(0),
            _names: PhantomData,
        }
    }

    /// Returns the number of the timeline.
    pub fn context(&self) -> u64 {
        self.context
    }

    /// Makes the next fence of the timeline.
    ///
    /// The fences of a timeline have to be signalled in the order in which they were made, so a
    /// caller will usually hold the lock that orders its queue.
    pub fn arm(&self, slot: FenceSlot) -> DriverFence {
        let seqno = self.seqno.fetch_add(1, Relaxed).wrapping_add(1);

        slot.arm(
            self.context,
            seqno,
            to_name(N::DRIVER),
            to_name(N::TIMELINE),
        )
    }
}

/// The right and the duty to signal a fence.
///
/// # Invariants
///
/// Nobody else signals the fence.
pub struct DriverFence(ARef<Fence>);

impl DriverFence {
    /// Returns the fence, for others to wait for.
    pub fn fence(&self) -> &Fence {
        &self.0
    }

    /// Signals the fence.
    ///
    /// This runs the callbacks of all who wait for it. It does not sleep and can be called in
    /// any context.
    pub fn signal(self, result: Result) {
        self.complete(result);
    }

    fn complete(&self, result: Result) {
        if let Err(error) = result {
            // SAFETY: By the type invariants, the fence is still pending. An `Error` is always a
            // valid code.
            unsafe { bindings::dma_fence_set_error(self.0.as_raw(), error.to_errno()) };
        }

        // SAFETY: The pointer is valid, as we have a reference, which lasts until all callbacks
        // have run.
        unsafe { bindings::dma_fence_signal(self.0.as_raw()) };
    }
}

impl Drop for DriverFence {
    fn drop(&mut self) {
        if !self.0.is_signaled() {
            self.complete(Err(ECANCELED));
        }
    }
}

/// What is to happen when a fence is signalled.
pub trait FenceCallback: Send + 'static {
    /// The fence was signalled.
    ///
    /// This runs in any context, with the lock of the fence held and interrupts off. It must not
    /// sleep, nor drop anything whose destructor does, and it must not take locks that are held
    /// anywhere with interrupts on. In particular it must neither add a callback to the same fence
    /// nor drop one of it. Usually it counts something down and queues work.
    fn signaled(self, fence: &Fence);
}

/// # Invariants
///
/// `data` is initialized until the callback runs.
#[repr(C)]
struct CbInner<T> {
    cb: Opaque<bindings::dma_fence_cb>,
    data: UnsafeCell<MaybeUninit<T>>,
}

/// A callback that is not waiting for anything yet.
///
/// # Examples
///
/// ```
/// use kernel::{
///     dma_fence::{
///         Fence,
///         FenceCallback,
///         FenceCb,
///         FenceContext,
///         FenceNames,
///         FenceSlot, //
///     },
///     sync::{
///         atomic::{
///             Atomic,
///             Relaxed, //
///         },
///         Arc, //
///     }, //
/// };
///
/// # struct Names;
/// # impl FenceNames for Names {
/// #     const DRIVER: &'static CStr = c"example";
/// #     const TIMELINE: &'static CStr = c"queue";
/// # }
/// struct Count(Arc<Atomic<u32>>);
///
/// impl FenceCallback for Count {
///     fn signaled(self, _fence: &Fence) {
///         self.0.fetch_add(1, Relaxed);
///     }
/// }
///
/// let count = Arc::new(Atomic::new(0u32), GFP_KERNEL)?;
/// let queue = FenceContext::<Names>::new();
///
/// let fence = queue.arm(FenceSlot::new(GFP_KERNEL)?);
/// let keep = FenceCb::new(Count(count.clone()), GFP_KERNEL)?;
/// let keep = keep.arm(fence.fence()).map_err(|_| EINVAL)?;
/// let remove = FenceCb::new(Count(count.clone()), GFP_KERNEL)?;
/// let remove = remove.arm(fence.fence()).map_err(|_| EINVAL)?;
///
/// drop(remove);
/// let waited_for = sync::aref::ARef::<Fence>::from(fence.fence());
/// # use kernel::sync;
/// fence.signal(Ok(()));
/// assert_eq!(count.load(Relaxed), 1);
/// drop(keep);
///
/// // If it is too late, the callback does not run.
/// let late = FenceCb::new(Count(count.clone()), GFP_KERNEL)?;
/// assert!(late.arm(&waited_for).is_err());
/// assert_eq!(count.load(Relaxed), 1);
/// # Ok::<(), Error>(())
/// ```
pub struct FenceCb<T: FenceCallback>(KBox<CbInner<T>>);

// SAFETY: Nothing has the address yet, and `T` is `Send`.
unsafe impl<T: FenceCallback> Send for FenceCb<T> {}

// SAFETY: Nothing can be done with a reference to it.
unsafe impl<T: FenceCallback> Sync for FenceCb<T> {}

impl<T: FenceCallback> FenceCb<T> {
    /// Allocates the memory for a callback.
    pub fn new(data: T, flags: Flags) -> Result<Self> {
        // INVARIANT: `data` is initialized.
        Ok(Self(KBox::new(
            CbInner {
                cb: Opaque::uninit(),
                data: UnsafeCell::new(MaybeUninit::new(data)),
            },
            flags,
        )?))
    }

    /// Has the callback wait for a fence.
    ///
    /// If the fence is signalled already, the callback does not run, and its data is returned.
    pub fn arm(self, fence: &Fence) -> Result<ArmedCb<T>, T> {
        let fence: ARef<Fence> = fence.into();
        let this = KBox::into_raw(self.into_inner());

        // SAFETY: The fence is valid. The callback is at its address until `ArmedCb` is dropped,
        // which does not let go of it while it is in the fence's list.
        let ret = unsafe {
            bindings::dma_fence_add_callback(
                fence.as_raw(),
                Opaque::cast_into(&raw const (*this).cb),
                Some(CbInner::<T>::call),
            )
        };

        if ret == 0 {
            // SAFETY: `KBox::into_raw()` does not return null.
            let inner = unsafe { NonNull::new_unchecked(this) };
            // INVARIANT: The callback was added to this fence.
            return Ok(ArmedCb { inner, fence });
        }

        // SAFETY: It was not added, so that this is the only pointer to it.
        let inner = unsafe { KBox::from_raw(this) };
        // SAFETY: By the type invariants, the data is initialized, as the callback has not run.
        // It is not used again.
        Err(unsafe { (*inner.data.get()).assume_init_read() })
    }

    fn into_inner(self) -> KBox<CbInner<T>> {
        let this = core::mem::ManuallyDrop::new(self);

        // SAFETY: `this` is not used, nor dropped, after this.
        unsafe { core::ptr::read(&this.0) }
    }
}

impl<T: FenceCallback> Drop for FenceCb<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the data is initialized, as the callback has not run.
        unsafe { self.0.data.get_mut().assume_init_drop() };
    }
}

impl<T: FenceCallback> CbInner<T> {
    /// # Safety
    ///
    /// To be called by the C side, when the fence that this was added to is signalled.
    unsafe extern "C" fn call(fence: *mut bindings::dma_fence, cb: *mut bindings::dma_fence_cb) {
        // SAFETY: `cb` is the field of a `CbInner<T>`, since it was added with this function. It
        // exists, because `ArmedCb` waits for it to be called or removes it.
        let this = unsafe { &*crate::container_of!(Opaque::cast_from(cb), Self, cb) };

        // SAFETY: By the type invariants, the data is initialized, as we are called only once.
        // `ArmedCb` does not look at it before it has had the lock of the fence after us.
        let data = unsafe { (*this.data.get()).assume_init_read() };

        // SAFETY: The fence is referenced by whoever signals it.
        data.signaled(unsafe { Fence::from_raw(fence) });
    }
}

/// A callback that waits for a fence, or has run.
///
/// If it is dropped before the fence is signalled, the callback does not run any more, and its data
/// is dropped. If the callback is just running, dropping this waits until it has returned, and so
/// it must not be dropped by the callback itself.
///
/// # Invariants
///
/// `inner` is ours, and was added to `fence`.
pub struct ArmedCb<T: FenceCallback> {
    inner: NonNull<CbInner<T>>,
    fence: ARef<Fence>,
}

// SAFETY: A callback can be removed from anywhere, and `T` is `Send`.
unsafe impl<T: FenceCallback> Send for ArmedCb<T> {}

// SAFETY: All that can be done with a reference is to look at the fence.
unsafe impl<T: FenceCallback> Sync for ArmedCb<T> {}

impl<T: FenceCallback> ArmedCb<T> {
    /// Returns the fence that this waits for.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }
}

impl<T: FenceCallback> Drop for ArmedCb<T> {
    fn drop(&mut self) {
        let inner = self.inner.as_ptr();

        // Callbacks run with the lock of the fence held, which this takes. So it was either removed
        // before it could run, or it has run to its end.
        //
        // SAFETY: By the type invariants, it exists and was added to this fence.
        let pending = unsafe {
            bindings::dma_fence_remove_callback(
                self.fence.as_raw(),
                Opaque::cast_into(&raw const (*inner).cb),
            )
        };

        // SAFETY: By the type invariants it is ours. It is not in the list of the fence any more,
        // and nobody is in its callback.
        let mut inner = unsafe { KBox::from_raw(inner) };

        if pending {
            // SAFETY: By the type invariants, the data is initialized, as the callback has not run
            // and never will.
            unsafe { inner.data.get_mut().assume_init_drop() };
        }
    }
}

/// The memory for a point on the timeline of a sync object.
pub struct FenceChain(KBox<MaybeUninit<bindings::dma_fence_chain>>);

// SAFETY: It is nothing but memory.
unsafe impl Send for FenceChain {}

// SAFETY: Nothing can be done with a reference to it.
unsafe impl Sync for FenceChain {}

impl FenceChain {
    /// Allocates the memory.
    pub fn new(flags: Flags) -> Result<Self> {
        Ok(Self(KBox::new_uninit(flags)?))
    }

    /// Returns the memory, which `dma_fence_chain_free()` or the last reference will free.
    #[cfg_attr(not(CONFIG_DRM = "y"), expect(dead_code))]
    pub(crate) fn into_raw(self) -> *mut bindings::dma_fence_chain {
        KBox::into_raw(self.0).cast()
    }
}

/// Marks code that has to complete for a fence to be signalled.
///
/// Lockdep then knows that nothing in there may wait for memory reclaim, or for a lock within which
/// something does. It costs nothing without lockdep.
pub struct SignallingSection {
    cookie: bool,
    _not_send: NotThreadSafe,
}

impl SignallingSection {
    /// Enters the section, which ends when the returned object is dropped.
    #[must_use = "the section ends when this is dropped"]
    pub fn enter() -> Self {
        Self {
            // SAFETY: This may be called anywhere, and nested.
            cookie: unsafe { bindings::dma_fence_begin_signalling() },
            _not_send: NotThreadSafe,
        }
    }
}

impl Drop for SignallingSection {
    fn drop(&mut self) {
        // SAFETY: The cookie is that of the matching begin, which was in the same task.
        unsafe { bindings::dma_fence_end_signalling(self.cookie) };
    }
}

#[macros::kunit_tests(rust_dma_fence)]
mod tests {
    use super::*;
    use crate::sync::Arc;

    struct Names;

    impl FenceNames for Names {
        const DRIVER: &'static CStr = c"kunit";
        const TIMELINE: &'static CStr = c"a name that is longer than what there is room for";
    }

    /// Counts how often it was called, and how often dropped.
    struct Count {
        called: Arc<Atomic<u32>>,
        dropped: Arc<Atomic<u32>>,
        seen: Arc<Atomic<i32>>,
    }

    impl FenceCallback for Count {
        fn signaled(self, fence: &Fence) {
            self.called.fetch_add(1, Relaxed);
            if let Some(Err(error)) = fence.status() {
                self.seen.store(error.to_errno(), Relaxed);
            }
        }
    }

    impl Drop for Count {
        fn drop(&mut self) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    struct Counter {
        called: Arc<Atomic<u32>>,
        dropped: Arc<Atomic<u32>>,
        seen: Arc<Atomic<i32>>,
    }

    impl Counter {
        fn new() -> Result<Self> {
            Ok(Self {
                called: Arc::new(Atomic::new(0), GFP_KERNEL)?,
                dropped: Arc::new(Atomic::new(0), GFP_KERNEL)?,
                seen: Arc::new(Atomic::new(0), GFP_KERNEL)?,
            })
        }

        fn callback(&self) -> Result<FenceCb<Count>> {
            FenceCb::new(
                Count {
                    called: self.called.clone(),
                    dropped: self.dropped.clone(),
                    seen: self.seen.clone(),
                },
                GFP_KERNEL,
            )
        }

        fn is(&self, called: u32, dropped: u32) -> bool {
            self.called.load(Relaxed) == called && self.dropped.load(Relaxed) == dropped
        }
    }

    fn fence() -> Result<DriverFence> {
        Ok(FenceContext::<Names>::new().arm(FenceSlot::new(GFP_KERNEL)?))
    }

    #[test]
    fn callbacks_run_once() -> Result {
        let counter = Counter::new()?;
        let fence = fence()?;
        let first = counter.callback()?.arm(fence.fence()).map_err(|_| EINVAL)?;
        let second = counter.callback()?.arm(fence.fence()).map_err(|_| EINVAL)?;

        assert!(counter.is(0, 0));
        fence.signal(Err(EIO));
        assert!(counter.is(2, 2));
        assert_eq!(counter.seen.load(Relaxed), EIO.to_errno());
        drop((first, second));
        assert!(counter.is(2, 2));
        Ok(())
    }

    #[test]
    fn callbacks_can_be_taken_off() -> Result {
        let counter = Counter::new()?;
        let fence = fence()?;
        let armed = counter.callback()?.arm(fence.fence()).map_err(|_| EINVAL)?;

        drop(armed);
        assert!(counter.is(0, 1));
        fence.signal(Ok(()));
        assert!(counter.is(0, 1));
        Ok(())
    }

    #[test]
    fn unused_callbacks_drop_their_data() -> Result {
        let counter = Counter::new()?;
        drop(counter.callback()?);
        assert!(counter.is(0, 1));

        let driver = fence()?;
        let fence: ARef<Fence> = driver.fence().into();
        driver.signal(Ok(()));
        drop(counter.callback()?.arm(&fence));
        assert!(counter.is(0, 2));
        Ok(())
    }

    #[test]
    fn fences_outlive_who_signals_them() -> Result {
        let counter = Counter::new()?;
        let driver = fence()?;
        let fence: ARef<Fence> = driver.fence().into();
        let armed = counter.callback()?.arm(&fence).map_err(|_| EINVAL)?;

        assert_eq!(fence.status(), None);
        // Who goes away without signalling leaves nobody waiting.
        drop(driver);
        assert!(counter.is(1, 1));
        assert_eq!(fence.status(), Some(Err(ECANCELED)));
        drop(armed);
        // The C side does without the operations now.
        // SAFETY: The fence is valid. It has been signalled, so that nothing changes any more.
        assert!(unsafe { (*fence.as_raw()).ops }.is_null());
        Ok(())
    }

    #[test]
    fn names_are_cut_off() {
        let name = to_name(Names::TIMELINE);
        assert_eq!(
            name[22],
            b"a name that is longer than what there is room for"[22]
        );
        assert_eq!(name[23], 0);
        assert_eq!(&to_name(Names::DRIVER)[..6], b"kunit\0");
    }
}
