// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! How long objects stay that are not mapped any more, or are not named any more.
//!
//! A mapping owns its object. When it is taken out, the page table has been changed and the TLB
//! flushed; but the object's memory must not go to somebody else as long as there is work of the
//! VM that began when it was still mapped.
//!
//! An object whose last handle is closed goes out of its client's VMs. A client that just ends does
//! that with everything that its work uses, and the GPU would fault, which disturbs others. So it
//! is taken out only when the work is over that began before.
//!
//! Both are kept track of by *epochs*. All work that begins holds the VM's current epoch. What is
//! taken out or closed goes to the current epoch, which then ends, and a new one begins. An epoch
//! holds its successor. So an epoch goes away when all work is over that began in it or before it;
//! with it go the objects that were taken out at its end, and those that were closed become *due*.
//! Nothing has to be looked for or waited for, and no amount of mappings makes it more expensive.

use kernel::{
    drm::gpuvm::GpuVaRemoved,
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        SpinLock, //
    }, //
};

use super::{
    tree::Tree,
    Vm, //
};
use crate::gem::Object;

/// What belongs to a mapping: its object.
///
/// When the mapping is gone, this is a link in a list of what is to be let go together.
pub(crate) struct Owned {
    object: ARef<Object>,
    next: Option<KBox<Owned>>,
}

impl Owned {
    pub(super) fn new(object: ARef<Object>) -> Self {
        Self { object, next: None }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // Not by recursion, as the list may be long.
        let mut next = self.next.take();
        while let Some(mut owned) = next {
            next = owned.next.take();
        }
    }
}

/// A list of objects.
#[derive(Default)]
pub(super) struct Objects(Option<KBox<Owned>>);

impl Objects {
    /// Adds the object of a mapping that has been taken out.
    pub(super) fn push(&mut self, mapping: GpuVaRemoved<Tree>) {
        if let Some(mut owned) = mapping.into_inner() {
            owned.next = self.0.take();
            self.0 = Some(owned);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Puts another list in front.
    fn prepend(&mut self, list: Self) {
        let rest = core::mem::replace(self, list);
        if rest.is_empty() {
            return;
        }
        let mut link = &mut self.0;
        while let Some(owned) = link {
            link = &mut owned.next;
        }
        *link = rest.0;
    }

    /// Takes the first object.
    fn pop(&mut self) -> Option<ARef<Object>> {
        let mut first = self.0.take()?;
        self.0 = first.next.take();
        Some(first.object.clone())
    }
}

/// What an epoch leaves behind.
#[derive(Default)]
struct Legacy {
    /// Objects that have been taken out.
    removed: Objects,
    /// Objects whose handles have been closed.
    closed: Objects,
    next: Option<Arc<Epoch>>,
}

/// The closed objects of epochs that are over.
#[pin_data]
struct Due {
    #[pin]
    objects: SpinLock<Objects>,
}

/// A time between two changes of a VM.
#[pin_data(PinnedDrop)]
struct Epoch {
    #[pin]
    legacy: SpinLock<Legacy>,
    due: Arc<Due>,
}

impl Epoch {
    fn new(due: &Arc<Due>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                legacy <- new_spinlock!(Legacy::default()),
                due: due.clone(),
            }),
            GFP_KERNEL,
        )
    }

    /// Adds to what the epoch leaves behind, and says what follows it if it ends by that.
    fn add(&self, removed: Objects, closed: Objects, next: Option<Arc<Epoch>>) {
        let mut legacy = self.legacy.lock();
        legacy.removed.prepend(removed);
        legacy.closed.prepend(closed);
        legacy.next = next;
    }
}

#[pinned_drop]
impl PinnedDrop for Epoch {
    fn drop(self: Pin<&mut Self>) {
        let mut legacy = core::mem::take(&mut *self.legacy.lock());
        loop {
            let closed = core::mem::take(&mut legacy.closed);
            self.due.objects.lock().prepend(closed);

            // Not by recursion, as there may be many epochs that nothing but their predecessor
            // holds. What was removed goes here, without a lock held.
            let Some(epoch) = legacy.next.take().and_then(Arc::into_unique_or_drop) else {
                break;
            };
            let next = core::mem::take(&mut *epoch.legacy.lock());
            legacy = next;
        }
    }
}

/// The epochs of a VM.
#[pin_data]
pub(super) struct Epochs {
    #[pin]
    current: SpinLock<Arc<Epoch>>,
    due: Arc<Due>,
}

impl Epochs {
    pub(super) fn new() -> Result<impl PinInit<Self>> {
        let due = Arc::pin_init(
            pin_init!(Due {
                objects <- new_spinlock!(Objects::default()),
            }),
            GFP_KERNEL,
        )?;
        let current = Epoch::new(&due)?;
        Ok(pin_init!(Self {
            current <- new_spinlock!(current),
            due,
        }))
    }

    fn current(&self) -> Arc<Epoch> {
        self.current.lock().clone()
    }

    /// Lets go of what has been removed when no work is under way that may know of it, which may
    /// be now.
    pub(super) fn retire(&self, removed: Objects) {
        if !removed.is_empty() {
            self.end(removed, Objects::default());
        }
    }

    /// Makes a closed object due when no work is under way that may know of it, which may be now.
    pub(super) fn close(&self, object: &Object) -> Result {
        let owned = KBox::new(Owned::new(ARef::from(object)), GFP_KERNEL)?;
        self.end(Objects::default(), Objects(Some(owned)));
        Ok(())
    }

    /// Takes a closed object that is due.
    pub(super) fn next_due(&self) -> Option<ARef<Object>> {
        self.due.objects.lock().pop()
    }

    /// Ends the current epoch.
    fn end(&self, removed: Objects, closed: Objects) {
        let Ok(fresh) = Epoch::new(&self.due) else {
            // The epoch goes on. What it leaves behind waits for work that begins later, too.
            self.current().add(removed, closed, None);
            return;
        };

        let mut current = self.current.lock();
        let old = core::mem::replace(&mut *current, fresh.clone());
        old.add(removed, closed, Some(fresh));
        drop(current);
        // If there is no work, the objects go here.
        drop(old);
    }
}

/// Work that uses a VM.
///
/// As long as this exists, so does the VM, and so does the memory of everything that was mapped in
/// it when this was made, even if it has been taken out meanwhile. It must be dropped where GEM
/// objects may be freed.
pub(crate) struct VmWork {
    epoch: Option<Arc<Epoch>>,
    vm: Arc<Vm>,
}

impl VmWork {
    pub(super) fn new(vm: &Arc<Vm>) -> Self {
        Self {
            epoch: Some(vm.epochs.current()),
            vm: vm.clone(),
        }
    }
}

impl Drop for VmWork {
    fn drop(&mut self) {
        drop(self.epoch.take());
        self.vm.take_out_closed();
    }
}
