// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! Apple RTKit coprocessors.
//!
//! Apple's chips have coprocessors that run a small operating system called RTKit. This module is
//! for drivers of such a coprocessor. The protocol that all of them have in common is spoken by the
//! C library, which a driver talks to with an [`RtKit`], and which talks to the driver through the
//! driver's [`Operations`].
//!
//! # Who owns what
//!
//! `apple_rtkit_init()` stores a pointer to the device and one to the mailbox of the coprocessor.
//! The mailbox is kept by a device link, and that ends when the *binding* of the consumer ends. A
//! reference to the device would thus keep the wrong thing: a `struct apple_rtkit` is of no use,
//! and not safe to use, once the driver is unbound. So
//!
//! - [`RtKit<'a, T>`](RtKit) *borrows* the device, as a `&'a impl RawDevice<Bound>`, and cannot
//!   outlive the binding;
//! - what lives longer, such as the state that open files refer to, holds a [`Sender`]. It is
//!   *counted*, and after the [`RtKit`] is gone all it does is to return [`ENODEV`];
//! - `T`, which the callbacks get, is owned by the [`RtKit`] and is `'static`. A callback runs on
//!   the workqueue that freeing has to wait for, so that it must be impossible to free an [`RtKit`]
//!   from its own callback. It is: a `'static` type cannot contain an `RtKit<'a, _>`, and all that
//!   a callback is given is a `&T`. What a callback needs of the bound device's resources it gets
//!   by means of the `&Device<Bound>` that it is passed, see [`Devres::access`].
//!
//! [`Devres::access`]: crate::devres::Devres::access
//!
//! C header: [`include/linux/soc/apple/rtkit.h`](srctree/include/linux/soc/apple/rtkit.h)

use crate::{
    bindings,
    device::{
        raw::RawDevice,
        Bound,
        Device, //
    },
    error::{
        from_err_ptr,
        from_result,
        to_result,
        VTABLE_DEFAULT_ERROR, //
    },
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

/// Memory that a coprocessor shares with the kernel for logs.
///
/// # Safety
///
/// - [`ShMem::as_ptr`] must be valid for reads of [`ShMem::size`] bytes for as long as the object
///   exists, even if it is moved.
/// - The coprocessor may write to that memory at any time.
pub unsafe trait ShMem: Send + 'static {
    /// Returns the address of the memory in the kernel.
    fn as_ptr(&self) -> NonNull<u8>;

    /// Returns the size of the memory in bytes.
    fn size(&self) -> usize;

    /// Returns the address of the memory as the coprocessor sees it.
    fn iova(&self) -> u64;
}

/// The [`Operations::Buffer`] of drivers that leave the allocation of buffers to the C side.
pub enum NoBuffer {}

// SAFETY: There are no objects of this type.
unsafe impl ShMem for NoBuffer {
    fn as_ptr(&self) -> NonNull<u8> {
        match *self {}
    }

    fn size(&self) -> usize {
        match *self {}
    }

    fn iova(&self) -> u64 {
        match *self {}
    }
}

/// What a driver does with what comes from the coprocessor.
///
/// All callbacks but [`Operations::recv_message_early`] run in process context and one after the
/// other, on a workqueue that belongs to the [`RtKit`]. While they run, the device is bound.
#[vtable]
pub trait Operations: Send + Sync + 'static {
    /// Memory as allocated by [`Operations::shmem_alloc`] or mapped by [`Operations::shmem_map`].
    ///
    /// It is dropped when the coprocessor has stopped using it.
    type Buffer: ShMem;

    /// A message has arrived at an endpoint of the application, that is 0x20 or above.
    ///
    /// On its way here a message is copied to memory that is allocated in interrupt context. If
    /// there is none, it is lost. A message that must not be lost should be taken note of in
    /// [`Operations::recv_message_early`].
    fn recv_message(&self, _dev: &Device<Bound>, _endpoint: u8, _message: u64) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// As [`Operations::recv_message`], but in interrupt context and before anything can get lost.
    ///
    /// Returns whether the message was dealt with. If not, [`Operations::recv_message`] gets it.
    fn recv_message_early(&self, _dev: &Device<Bound>, _endpoint: u8, _message: u64) -> bool {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The coprocessor has crashed, and there will be no more messages from it or to it.
    ///
    /// The log is a copy that the coprocessor does not write to any more, or `None` if there was no
    /// memory to copy it to. Its contents are those of a firmware that has just gone wrong.
    fn crashed(&self, _dev: &Device<Bound>, _crashlog: Option<&[u8]>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Allocates a buffer of at least `size` bytes and maps it for the coprocessor.
    ///
    /// A driver that does not implement this gets buffers by way of the DMA API.
    fn shmem_alloc(&self, _dev: &Device<Bound>, _size: usize) -> Result<Self::Buffer> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Maps a buffer of `size` bytes that the coprocessor has at its address `iova` already.
    ///
    /// A driver that does not implement this refuses such buffers.
    fn shmem_map(&self, _dev: &Device<Bound>, _iova: u64, _size: usize) -> Result<Self::Buffer> {
        Err(EINVAL)
    }
}

/// What the C side has as its cookie.
///
/// # Invariants
///
/// `dev` is a device that is bound for as long as the C side uses the cookie.
#[pin_data]
struct Callbacks<T: Operations> {
    dev: *mut bindings::device,
    #[pin]
    data: T,
    /// Serialises the changes of power state, for which the C side leaves that to its callers.
    #[pin]
    power: Mutex<()>,
}

impl<T: Operations> Callbacks<T> {
    const OPS: bindings::apple_rtkit_ops = bindings::apple_rtkit_ops {
        crashed: if T::HAS_CRASHED {
            Some(Self::crashed)
        } else {
            None
        },
        recv_message: if T::HAS_RECV_MESSAGE {
            Some(Self::recv_message)
        } else {
            None
        },
        recv_message_early: if T::HAS_RECV_MESSAGE_EARLY {
            Some(Self::recv_message_early)
        } else {
            None
        },
        shmem_setup: if T::HAS_SHMEM_ALLOC {
            Some(Self::shmem_setup)
        } else {
            None
        },
        shmem_destroy: if T::HAS_SHMEM_ALLOC {
            Some(Self::shmem_destroy)
        } else {
            None
        },
    };

    /// # Safety
    ///
    /// `cookie` must be the cookie of a callback that is running.
    unsafe fn from_cookie<'c>(cookie: *mut c_void) -> (&'c T, &'c Device<Bound>) {
        // SAFETY: The cookie is a pointer to `Self`, which `RtKit` keeps until there are no
        // callbacks any more.
        let this = unsafe { &*cookie.cast::<Self>() };
        // SAFETY: By the type invariants this device is bound now, and stays so until there are no
        // callbacks any more.
        let dev = unsafe { Device::from_raw(this.dev) };

        (&this.data, dev)
    }

    /// # Safety
    ///
    /// To be called by the C side as a callback of an [`RtKit`].
    unsafe extern "C" fn crashed(cookie: *mut c_void, log: *const c_void, size: usize) {
        // SAFETY: We are in a callback.
        let (data, dev) = unsafe { Self::from_cookie(cookie) };

        let log = if log.is_null() {
            None
        } else {
            // SAFETY: The C side passes a copy of the log, which is of this size and lives until
            // this function returns.
            Some(unsafe { core::slice::from_raw_parts(log.cast::<u8>(), size) })
        };

        data.crashed(dev, log);
    }

    /// # Safety
    ///
    /// To be called by the C side as a callback of an [`RtKit`].
    unsafe extern "C" fn recv_message(cookie: *mut c_void, endpoint: u8, message: u64) {
        // SAFETY: We are in a callback.
        let (data, dev) = unsafe { Self::from_cookie(cookie) };

        data.recv_message(dev, endpoint, message);
    }

    /// # Safety
    ///
    /// To be called by the C side as a callback of an [`RtKit`].
    unsafe extern "C" fn recv_message_early(
        cookie: *mut c_void,
        endpoint: u8,
        message: u64,
    ) -> bool {
        // SAFETY: We are in a callback.
        let (data, dev) = unsafe { Self::from_cookie(cookie) };

        data.recv_message_early(dev, endpoint, message)
    }

    /// # Safety
    ///
    /// To be called by the C side as a callback of an [`RtKit`].
    unsafe extern "C" fn shmem_setup(
        cookie: *mut c_void,
        bfr: *mut bindings::apple_rtkit_shmem,
    ) -> c_int {
        // SAFETY: We are in a callback.
        let (data, dev) = unsafe { Self::from_cookie(cookie) };
        // SAFETY: The C side passes a pointer to a buffer that nothing else uses now.
        let bfr = unsafe { &mut *bfr };

        from_result(|| {
            // The C side takes a buffer of no size for one that was never set up.
            if bfr.size == 0 {
                return Err(EINVAL);
            }

            let is_mapped = bfr.iova != 0;
            let buffer = if is_mapped {
                data.shmem_map(dev, bfr.iova, bfr.size)?
            } else {
                data.shmem_alloc(dev, bfr.size)?
            };

            // The C side trusts in there being as much as it has asked for.
            if buffer.size() < bfr.size {
                return Err(EINVAL);
            }

            let buffer = KBox::new(buffer, GFP_KERNEL)?;
            bfr.buffer = buffer.as_ptr().as_ptr().cast();
            bfr.iova = buffer.iova();
            bfr.is_mapped = is_mapped;
            bfr.private = KBox::into_raw(buffer).cast();
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// To be called by the C side as a callback of an [`RtKit`].
    unsafe extern "C" fn shmem_destroy(
        _cookie: *mut c_void,
        bfr: *mut bindings::apple_rtkit_shmem,
    ) {
        // SAFETY: The C side passes a pointer to a buffer that nothing else uses now.
        let bfr = unsafe { &mut *bfr };
        let private = core::mem::replace(&mut bfr.private, core::ptr::null_mut());

        if !private.is_null() {
            // SAFETY: `shmem_setup()` has put this here, and it was there only once.
            drop(unsafe { KBox::from_raw(private.cast::<T::Buffer>()) });
        }
    }
}

/// How the mailbox of a coprocessor is found in the device's node.
#[derive(Clone, Copy)]
pub enum Mailbox<'n> {
    /// By its place in `mboxes`.
    Index(u32),
    /// By its name in `mbox-names`.
    Name(&'n CStr),
}

/// A `struct apple_rtkit` that can be used from any thread.
struct RawRtKit(NonNull<bindings::apple_rtkit>);

// SAFETY: The C side can be used from any thread.
unsafe impl Send for RawRtKit {}

impl RawRtKit {
    /// # Safety
    ///
    /// The C object must not have been freed.
    unsafe fn is_running(&self) -> bool {
        // SAFETY: By the safety requirements of this function.
        unsafe { bindings::apple_rtkit_is_running(self.0.as_ptr()) }
    }
}

/// A way to send messages that may outlive the coprocessor's driver.
///
/// See the [module level documentation](self) for who needs one.
#[pin_data]
pub struct Sender {
    /// # Invariants
    ///
    /// If there is a pointer, the C object exists for as long as the lock is held.
    #[pin]
    rtk: Mutex<Option<RawRtKit>>,
}

impl Sender {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                rtk <- new_mutex!(None, "rtkit::Sender"),
            }),
            GFP_KERNEL,
        )
    }

    /// Sends a message to an endpoint.
    ///
    /// Everything that was written to memory before is visible to the coprocessor when it gets the
    /// message.
    ///
    /// This sleeps if the mailbox is full, but not for longer than half a second: then it fails
    /// with [`ETIMEDOUT`]. It fails with [`ENODEV`] if the coprocessor does not run, has crashed,
    /// or has no driver any more.
    pub fn send(&self, endpoint: u8, message: u64) -> Result {
        let rtk = self.rtk.lock();
        let rtk = rtk.as_ref().ok_or(ENODEV)?;

        // SAFETY: By the invariants of the field.
        if !unsafe { rtk.is_running() } {
            return Err(ENODEV);
        }

        // SAFETY: By the invariants of the field. No completion is asked for.
        to_result(unsafe {
            bindings::apple_rtkit_send_message(
                rtk.0.as_ptr(),
                endpoint,
                message,
                core::ptr::null_mut(),
                false,
            )
        })
    }

    /// Returns whether the coprocessor runs.
    ///
    /// The answer can be wrong by the time it arrives.
    pub fn is_alive(&self) -> bool {
        // SAFETY: By the invariants of the field.
        self.rtk
            .lock()
            .as_ref()
            .is_some_and(|rtk| unsafe { rtk.is_running() })
    }

    /// From here on, nothing is sent any more.
    fn close(&self) {
        *self.rtk.lock() = None;
    }
}

/// A coprocessor that runs RTKit.
///
/// When it is dropped, the mailbox is stopped, callbacks that are running are waited for, all
/// buffers are dropped, and at last the driver's data. The coprocessor itself is not told; see
/// [`RtKit::shutdown`].
///
/// # Invariants
///
/// - `rtk` is a valid `struct apple_rtkit` that this object owns, whose cookie is `callbacks`.
/// - The device is bound during `'a`.
pub struct RtKit<'a, T: Operations> {
    rtk: RawRtKit,
    sender: Arc<Sender>,
    callbacks: Pin<KBox<Callbacks<T>>>,
    _dev: PhantomData<&'a Device<Bound>>,
}

// SAFETY: Freeing the C object is possible from any thread, and so is dropping the data, which is
// `Send`. The device is not touched.
unsafe impl<T: Operations> Send for RtKit<'_, T> {}

// SAFETY: All methods that take a `&self` can be called from any thread: the C side copes with
// messages being sent at the same time, and what it does not cope with is under `power`.
unsafe impl<T: Operations> Sync for RtKit<'_, T> {}

impl<'a, T: Operations> RtKit<'a, T> {
    /// Sets up the communication with a device's coprocessor.
    ///
    /// Messages can arrive from now on. This fails with [`EPROBE_DEFER`] while the mailbox has no
    /// driver.
    ///
    /// A mailbox has one user at a time.
    ///
    /// # Safety
    ///
    /// The caller must not `mem::forget()` the returned [`RtKit`] or otherwise prevent its [`Drop`]
    /// implementation from running, as the C object must not outlive the binding.
    pub unsafe fn new<E>(
        dev: &'a (impl RawDevice<Bound> + ?Sized),
        mailbox: Mailbox<'_>,
        data: impl PinInit<T, E>,
    ) -> Result<Self>
    where
        Error: From<E>,
    {
        let dev = dev.as_raw_device();

        // INVARIANT: The device is bound during `'a`, and `Self`, which ends before that, waits for
        // the callbacks.
        let callbacks = KBox::try_pin_init(
            try_pin_init!(Callbacks {
                dev,
                data <- data,
                power <- new_mutex!((), "RtKit::power"),
            }? Error),
            GFP_KERNEL,
        )?;
        let sender = Sender::new()?;

        let (name, index) = match mailbox {
            Mailbox::Index(index) => (core::ptr::null(), i32::try_from(index)?),
            Mailbox::Name(name) => (name.as_char_ptr(), 0),
        };
        let cookie: *const Callbacks<T> = &raw const *callbacks;

        // SAFETY: The device is valid, and stays bound for longer than the C object exists, by the
        // safety requirements of this function. The name is not used after the call. The cookie is
        // valid for as long as the C object exists, and so are the operations, which are constant.
        let rtk = from_err_ptr(unsafe {
            bindings::apple_rtkit_init(
                dev,
                cookie.cast_mut().cast(),
                name,
                index,
                &Callbacks::<T>::OPS,
            )
        })?;
        let rtk = NonNull::new(rtk).ok_or(ENOMEM)?;

        // INVARIANT: `drop()` takes it away before it frees the C object.
        *sender.rtk.lock() = Some(RawRtKit(rtk));

        // INVARIANT: We have just made the C object, with this cookie.
        Ok(Self {
            rtk: RawRtKit(rtk),
            sender,
            callbacks,
            _dev: PhantomData,
        })
    }

    /// Returns the data that the callbacks get.
    pub fn data(&self) -> &T {
        &self.callbacks.data
    }

    /// Returns the [`Sender`].
    pub fn sender(&self) -> Arc<Sender> {
        self.sender.clone()
    }

    fn with_power(&self, f: unsafe extern "C" fn(*mut bindings::apple_rtkit) -> c_int) -> Result {
        let _guard = self.callbacks.power.lock();

        // SAFETY: All functions that this is called with want a valid pointer, which it is by the
        // type invariants, and that there is only one caller at a time.
        to_result(unsafe { f(self.rtk.0.as_ptr()) })
    }

    /// Waits for the coprocessor to boot, after its CPU was started.
    ///
    /// No step may take more than a second, or else this fails with [`ETIME`]. It fails with
    /// [`EINVAL`] if the coprocessor speaks no version of the protocol that is known, or does not
    /// do as told.
    pub fn boot(&self) -> Result {
        self.with_power(bindings::apple_rtkit_boot)
    }

    /// Wakes the coprocessor up after [`RtKit::quiesce`], [`RtKit::shutdown`] or, if the firmware
    /// waits for that, at first.
    pub fn wake(&self) -> Result {
        self.with_power(bindings::apple_rtkit_wake)
    }

    /// Tells the coprocessor to stop communicating, and drops the buffers.
    pub fn quiesce(&self) -> Result {
        self.with_power(bindings::apple_rtkit_quiesce)
    }

    /// Puts the coprocessor to sleep, in a state that it can be woken up from, and drops the
    /// buffers.
    pub fn shutdown(&self) -> Result {
        self.with_power(bindings::apple_rtkit_shutdown)
    }

    /// Starts anew with a coprocessor that is held in reset, and drops the buffers.
    pub fn reinit(&self) -> Result {
        self.with_power(bindings::apple_rtkit_reinit)
    }

    /// Starts an endpoint. Messages can be sent to it afterwards.
    ///
    /// This fails with [`EINVAL`] if the coprocessor has no such endpoint.
    pub fn start_endpoint(&self, endpoint: u8) -> Result {
        // SAFETY: The pointer is valid by the type invariants.
        to_result(unsafe { bindings::apple_rtkit_start_ep(self.rtk.0.as_ptr(), endpoint) })
    }

    /// Returns whether the coprocessor has booted and takes messages.
    pub fn is_running(&self) -> bool {
        // SAFETY: By the type invariants.
        unsafe { self.rtk.is_running() }
    }

    /// Returns whether the coprocessor has crashed.
    pub fn is_crashed(&self) -> bool {
        // SAFETY: The pointer is valid by the type invariants.
        unsafe { bindings::apple_rtkit_is_crashed(self.rtk.0.as_ptr()) }
    }
}

impl<T: Operations> Drop for RtKit<'_, T> {
    fn drop(&mut self) {
        self.sender.close();

        // SAFETY: By the type invariants we own the object, and nobody else has the pointer any
        // more. We are not on its workqueue, as callbacks cannot get at a `Self`. The data of the
        // callbacks is dropped only after this.
        unsafe { bindings::apple_rtkit_free(self.rtk.0.as_ptr()) };
    }
}
