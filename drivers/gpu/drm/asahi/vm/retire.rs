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
pub(crate) struct Owned<T = ARef<Object>> {
    object: T,
    next: Option<KBox<Owned<T>>>,
}

impl<T> Owned<T> {
    pub(super) fn new(object: T) -> Self {
        Self { object, next: None }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // Not by recursion, as the list may be long.
        let mut next = self.next.take();
        while let Some(mut owned) = next {
            next = owned.next.take();
        }
    }
}

/// A list of objects.
pub(super) struct Objects<T = ARef<Object>>(Option<KBox<Owned<T>>>);

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl Objects {
    /// Adds the object of a mapping that has been taken out.
    pub(super) fn take_over(&mut self, mapping: GpuVaRemoved<Tree>) {
        if let Some(owned) = mapping.into_inner() {
            self.push(owned);
        }
    }
}

impl<T> Objects<T> {
    fn push(&mut self, mut owned: KBox<Owned<T>>) {
        owned.next = self.0.take();
        self.0 = Some(owned);
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
    fn pop(&mut self) -> Option<KBox<Owned<T>>> {
        let mut first = self.0.take()?;
        self.0 = first.next.take();
        Some(first)
    }
}

/// What an epoch leaves behind.
struct Legacy<T> {
    /// Objects that have been taken out.
    removed: Objects<T>,
    /// Objects whose handles have been closed.
    closed: Objects<T>,
    next: Option<Arc<Epoch<T>>>,
}

impl<T> Default for Legacy<T> {
    fn default() -> Self {
        Self {
            removed: Objects::default(),
            closed: Objects::default(),
            next: None,
        }
    }
}

/// The closed objects of epochs that are over.
#[pin_data]
struct Due<T> {
    #[pin]
    objects: SpinLock<Objects<T>>,
}

/// A time between two changes of a VM.
#[pin_data(PinnedDrop)]
struct Epoch<T> {
    #[pin]
    legacy: SpinLock<Legacy<T>>,
    due: Arc<Due<T>>,
}

impl<T> Epoch<T> {
    fn new(due: &Arc<Due<T>>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                legacy <- new_spinlock!(Legacy::default()),
                due: due.clone(),
            }),
            GFP_KERNEL,
        )
    }

    /// Adds to what the epoch leaves behind, and says what follows it if it ends by that.
    fn add(&self, removed: Objects<T>, closed: Objects<T>, next: Option<Arc<Self>>) {
        let mut legacy = self.legacy.lock();
        legacy.removed.prepend(removed);
        legacy.closed.prepend(closed);
        legacy.next = next;
    }

    /// Sees to what the epoch leaves behind, when nobody holds it any more.
    fn settle(&self) {
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

#[pinned_drop]
impl<T> PinnedDrop for Epoch<T> {
    fn drop(self: Pin<&mut Self>) {
        self.settle();
    }
}

/// The epoch that a VM is in.
struct Current<T> {
    epoch: Arc<Epoch<T>>,
    /// One to go on with, which saves allocating them in a VM without work.
    spare: Option<Arc<Epoch<T>>>,
}

/// The epochs of a VM.
#[pin_data]
pub(super) struct Epochs<T = ARef<Object>> {
    #[pin]
    current: SpinLock<Current<T>>,
    due: Arc<Due<T>>,
}

impl<T> Epochs<T> {
    pub(super) fn new() -> Result<impl PinInit<Self>> {
        let due = Arc::pin_init(
            pin_init!(Due {
                objects <- new_spinlock!(Objects::default()),
            }),
            GFP_KERNEL,
        )?;
        let current = Current {
            epoch: Epoch::new(&due)?,
            spare: None,
        };
        Ok(pin_init!(Self {
            current <- new_spinlock!(current),
            due,
        }))
    }

    fn current(&self) -> Arc<Epoch<T>> {
        self.current.lock().epoch.clone()
    }

    /// Lets go of what has been removed when no work is under way that may know of it, which may
    /// be now.
    pub(super) fn retire(&self, removed: Objects<T>) {
        if !removed.is_empty() {
            self.end(removed, Objects::default());
        }
    }

    /// Makes a closed object due when no work is under way that may know of it, which may be now.
    pub(super) fn close(&self, object: T) -> Result {
        let mut closed = Objects::default();
        closed.push(KBox::new(Owned::new(object), GFP_KERNEL)?);
        self.end(Objects::default(), closed);
        Ok(())
    }

    /// Takes a closed object that is due, and shows it.
    pub(super) fn with_next_due<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R> {
        let owned = self.due.objects.lock().pop()?;
        Some(f(&owned.object))
    }

    /// Ends the current epoch.
    fn end(&self, removed: Objects<T>, closed: Objects<T>) {
        let spare = self.current.lock().spare.take();
        let Some(fresh) = spare.or_else(|| Epoch::new(&self.due).ok()) else {
            // The epoch goes on. What it leaves behind waits for work that begins later, too.
            let current = self.current.lock();
            current.epoch.add(removed, closed, None);
            return;
        };

        let mut current = self.current.lock();
        let old = core::mem::replace(&mut current.epoch, fresh.clone());
        old.add(removed, closed, Some(fresh));
        drop(current);

        // If there is no work, the objects go here.
        if let Some(over) = Arc::into_unique_or_drop(old) {
            over.settle();
            let spare = self.current.lock().spare.replace(over.into());
            drop(spare);
        }
    }
}

/// Work that uses a VM.
///
/// As long as this exists, so does the VM, and so does the memory of everything that was mapped in
/// it when this was made, even if it has been taken out meanwhile. It must be dropped where GEM
/// objects may be freed.
pub(crate) struct VmWork {
    epoch: Option<Arc<Epoch<ARef<Object>>>>,
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

#[cfg(CONFIG_DRM_ASAHI_KUNIT_TEST)]
#[kunit_tests(asahi_vm_retire)]
mod tests {
    use super::*;
    use kernel::sync::atomic::{
        Atomic,
        Relaxed, //
    };

    /// Counts how many there are.
    struct Thing(Arc<Atomic<i32>>);

    impl Thing {
        fn new(count: &Arc<Atomic<i32>>) -> Self {
            count.add(1, Relaxed);
            Self(count.clone())
        }
    }

    impl Drop for Thing {
        fn drop(&mut self) {
            self.0.add(-1, Relaxed);
        }
    }

    struct Setup {
        epochs: Arc<Epochs<Thing>>,
        count: Arc<Atomic<i32>>,
    }

    impl Setup {
        fn new() -> Result<Self> {
            Ok(Self {
                epochs: Arc::pin_init(Epochs::new()?, GFP_KERNEL)?,
                count: Arc::new(Atomic::new(0), GFP_KERNEL)?,
            })
        }

        fn retire(&self) -> Result {
            let mut list = Objects::default();
            list.push(KBox::new(Owned::new(Thing::new(&self.count)), GFP_KERNEL)?);
            self.epochs.retire(list);
            Ok(())
        }

        fn left(&self) -> i32 {
            self.count.load(Relaxed)
        }
    }

    #[test]
    fn without_work_things_go_at_once() -> Result {
        let setup = Setup::new()?;
        setup.retire()?;
        assert_eq!(setup.left(), 0);
        setup.epochs.close(Thing::new(&setup.count))?;
        assert_eq!(setup.epochs.with_next_due(|_| ()), Some(()));
        assert_eq!(setup.epochs.with_next_due(|_| ()), None);
        assert_eq!(setup.left(), 0);
        Ok(())
    }

    #[test]
    fn things_stay_while_older_work_lasts() -> Result {
        let setup = Setup::new()?;
        let first = setup.epochs.current();
        setup.retire()?;
        let second = setup.epochs.current();
        setup.retire()?;
        let third = setup.epochs.current();
        assert_eq!(setup.left(), 2);

        // The second work's things wait for the first, too.
        drop(second);
        assert_eq!(setup.left(), 2);
        drop(first);
        assert_eq!(setup.left(), 0);

        // Later work does not matter.
        setup.retire()?;
        let fourth = setup.epochs.current();
        drop(third);
        assert_eq!(setup.left(), 0);
        drop(fourth);
        Ok(())
    }

    #[test]
    fn closed_things_become_due() -> Result {
        let setup = Setup::new()?;
        let work = setup.epochs.current();
        setup.epochs.close(Thing::new(&setup.count))?;
        assert_eq!(setup.epochs.with_next_due(|_| ()), None);
        drop(work);
        assert_eq!(setup.left(), 1);
        assert_eq!(setup.epochs.with_next_due(|_| ()), Some(()));
        assert_eq!(setup.left(), 0);
        Ok(())
    }

    #[test]
    fn long_lists_and_chains_take_no_stack() -> Result {
        let setup = Setup::new()?;
        let work = setup.epochs.current();
        for _ in 0..20_000 {
            setup.retire()?;
        }
        let mut list = Objects::default();
        for _ in 0..20_000 {
            list.push(KBox::new(Owned::new(Thing::new(&setup.count)), GFP_KERNEL)?);
        }
        setup.epochs.retire(list);
        assert_eq!(setup.left(), 40_000);
        drop(work);
        assert_eq!(setup.left(), 0);
        Ok(())
    }

    #[test]
    fn lists_are_joined() -> Result {
        let count = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let mut list = Objects::default();
        for _ in 0..3 {
            let mut front = Objects::default();
            for _ in 0..2 {
                front.push(KBox::new(Owned::new(Thing::new(&count)), GFP_KERNEL)?);
            }
            list.prepend(front);
        }
        let mut found = 0;
        while list.pop().is_some() {
            found += 1;
        }
        assert_eq!(found, 6);
        assert_eq!(count.load(Relaxed), 0);
        Ok(())
    }
}
