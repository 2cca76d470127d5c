// SPDX-License-Identifier: MIT OR Apache-2.0

//! Frames of Vulkan's swapchains.

use std::ffi::CStr;
use std::ptr::null;
use std::sync::{Mutex, PoisonError};

use ash::vk;
use ash::vk::Handle as _;

/// What was last made: programs of the kind that this is for have one of each.
#[derive(Default)]
struct Made {
    physical: vk::PhysicalDevice,
    device: vk::Device,
    family: u32,
    size: vk::Extent2D,
    format: vk::Format,
}

static MADE: Mutex<Option<Made>> = Mutex::new(None);

fn made<T>(with: impl FnOnce(&mut Made) -> T) -> T {
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    with(made.get_or_insert_default())
}

/// A function of the Vulkan loader's.
///
/// # Safety
///
/// `T` is the type of a pointer to the function of this name.
unsafe fn find<T: Copy>(name: &CStr) -> Option<T> {
    const { assert!(size_of::<T>() == size_of::<*mut libc::c_void>()) };
    let function = crate::next(name);
    // SAFETY: By this function's contract; the sizes are the same.
    (!function.is_null()).then(|| unsafe { std::mem::transmute_copy(&function) })
}

macro_rules! call {
    ($type:ident, $name:literal ($($arg:expr),* $(,)?)) => {
        // The function of this name is of this type.
        match find::<vk::$type>($name) {
            Some(function) => function($($arg),*),
            None => return Default::default(),
        }
    };
}

/// Takes notice of the device.
///
/// # Safety
///
/// As for Vulkan's.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn vkCreateDevice(
    physical: vk::PhysicalDevice,
    info: *const vk::DeviceCreateInfo<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    device: *mut vk::Device,
) -> vk::Result {
    // SAFETY: Passed on as it came; afterwards what the arguments point to is valid.
    unsafe {
        let create: Option<vk::PFN_vkCreateDevice> = find(c"vkCreateDevice");
        let Some(create) = create else {
            return vk::Result::ERROR_INITIALIZATION_FAILED;
        };
        let result = create(physical, info, allocator, device);
        if result == vk::Result::SUCCESS {
            made(|made| {
                made.physical = physical;
                made.device = *device;
                made.family = (*(*info).p_queue_create_infos).queue_family_index;
            });
        }
        result
    }
}

/// Has the images be such that they can be copied from.
///
/// # Safety
///
/// As for Vulkan's.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn vkCreateSwapchainKHR(
    device: vk::Device,
    info: *const vk::SwapchainCreateInfoKHR<'_>,
    allocator: *const vk::AllocationCallbacks<'_>,
    swapchain: *mut vk::SwapchainKHR,
) -> vk::Result {
    // SAFETY: The caller's structure is valid; it is passed on with one flag more.
    unsafe {
        let create: Option<vk::PFN_vkCreateSwapchainKHR> = find(c"vkCreateSwapchainKHR");
        let Some(create) = create else {
            return vk::Result::ERROR_INITIALIZATION_FAILED;
        };
        let mut info = *info;
        info.image_usage |= vk::ImageUsageFlags::TRANSFER_SRC;
        made(|made| (made.size, made.format) = (info.image_extent, info.image_format));
        create(device, &info, allocator, swapchain)
    }
}

/// Keeps the frame.
///
/// # Safety
///
/// As for Vulkan's.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn vkQueuePresentKHR(
    queue: vk::Queue,
    info: *const vk::PresentInfoKHR<'_>,
) -> vk::Result {
    // SAFETY: The caller's structure is valid, and passed on as it came.
    unsafe {
        if crate::wanted() {
            keep(queue, &*info);
        }
        let present: Option<vk::PFN_vkQueuePresentKHR> = find(c"vkQueuePresentKHR");
        match present {
            Some(present) => present(queue, info),
            None => vk::Result::ERROR_INITIALIZATION_FAILED,
        }
    }
}

/// A buffer that the CPU can read, with its memory.
unsafe fn buffer(made: &Made, size: u64) -> Option<(vk::Buffer, vk::DeviceMemory)> {
    let wanted = vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT;
    let info = vk::BufferCreateInfo::default()
        .size(size)
        .usage(vk::BufferUsageFlags::TRANSFER_DST);
    let (mut buffer, mut memory) = (vk::Buffer::null(), vk::DeviceMemory::null());
    let mut needs = vk::MemoryRequirements::default();
    let mut kinds = vk::PhysicalDeviceMemoryProperties::default();
    // SAFETY: The device is there, and the structures are valid.
    unsafe {
        let _ = call!(
            PFN_vkCreateBuffer,
            c"vkCreateBuffer"(made.device, &info, null(), &mut buffer)
        );
        call!(
            PFN_vkGetBufferMemoryRequirements,
            c"vkGetBufferMemoryRequirements"(made.device, buffer, &mut needs)
        );
        call!(
            PFN_vkGetPhysicalDeviceMemoryProperties,
            c"vkGetPhysicalDeviceMemoryProperties"(made.physical, &mut kinds)
        );
        let kind = (0..kinds.memory_type_count).find(|kind| {
            let flags = kinds.memory_types[*kind as usize].property_flags;
            needs.memory_type_bits >> kind & 1 != 0 && flags.contains(wanted)
        })?;
        let info = vk::MemoryAllocateInfo::default()
            .allocation_size(needs.size)
            .memory_type_index(kind);
        let _ = call!(
            PFN_vkAllocateMemory,
            c"vkAllocateMemory"(made.device, &info, null(), &mut memory)
        );
        let _ = call!(
            PFN_vkBindBufferMemory,
            c"vkBindBufferMemory"(made.device, buffer, memory, 0)
        );
    }
    Some((buffer, memory))
}

/// Waits until the image is drawn, copies it, and writes it. What is made for that is not given back: it is done once.
///
/// # Safety
///
/// The queue and what is presented are valid.
unsafe fn keep(queue: vk::Queue, info: &vk::PresentInfoKHR<'_>) -> Option<()> {
    // SAFETY: By this function's contract; what is made here is made by the device that the queue is of.
    unsafe {
        made(|made| {
            if made.device.is_null() || info.swapchain_count == 0 {
                return None;
            }
            let _ = call!(PFN_vkDeviceWaitIdle, c"vkDeviceWaitIdle"(made.device));
            let mut images = [vk::Image::null(); 16];
            let mut count = images.len() as u32;
            let _ = call!(
                PFN_vkGetSwapchainImagesKHR,
                c"vkGetSwapchainImagesKHR"(
                    made.device,
                    *info.p_swapchains,
                    &mut count,
                    images.as_mut_ptr()
                )
            );
            let image = *images.get(*info.p_image_indices as usize)?;
            let vk::Extent2D { width, height } = made.size;
            let size = u64::from(width) * u64::from(height) * 4;
            let (buffer, memory) = buffer(made, size)?;
            let commands = commands(made, image, buffer)?;
            let submit = vk::SubmitInfo::default().command_buffers(std::slice::from_ref(&commands));
            let _ = call!(
                PFN_vkQueueSubmit,
                c"vkQueueSubmit"(queue, 1, &submit, vk::Fence::null())
            );
            let _ = call!(PFN_vkDeviceWaitIdle, c"vkDeviceWaitIdle"(made.device));
            let mut at = std::ptr::null_mut();
            let _ = call!(
                PFN_vkMapMemory,
                c"vkMapMemory"(
                    made.device,
                    memory,
                    0,
                    size,
                    vk::MemoryMapFlags::empty(),
                    &mut at
                )
            );
            if at.is_null() {
                return None;
            }
            let mut pixels = std::slice::from_raw_parts(at.cast::<u8>(), size as usize).to_vec();
            if [vk::Format::B8G8R8A8_UNORM, vk::Format::B8G8R8A8_SRGB].contains(&made.format) {
                for pixel in pixels.as_chunks_mut::<4>().0 {
                    pixel.swap(0, 2);
                }
            }
            crate::write(width, height, pixels);
            Some(())
        })
    }
}

/// Commands that copy the image, which is as it is to be presented before and after.
unsafe fn commands(made: &Made, image: vk::Image, buffer: vk::Buffer) -> Option<vk::CommandBuffer> {
    let layouts = [
        vk::ImageLayout::PRESENT_SRC_KHR,
        vk::ImageLayout::TRANSFER_SRC_OPTIMAL,
    ];
    let change = |from: vk::ImageLayout, to: vk::ImageLayout| {
        vk::ImageMemoryBarrier::default()
            .image(image)
            .old_layout(from)
            .new_layout(to)
            .src_access_mask(vk::AccessFlags::MEMORY_WRITE)
            .dst_access_mask(vk::AccessFlags::MEMORY_READ)
            .subresource_range(vk::ImageSubresourceRange {
                aspect_mask: vk::ImageAspectFlags::COLOR,
                level_count: 1,
                layer_count: 1,
                ..Default::default()
            })
    };
    let (mut pool, mut commands) = (vk::CommandPool::null(), vk::CommandBuffer::null());
    let region = vk::BufferImageCopy {
        image_subresource: vk::ImageSubresourceLayers {
            aspect_mask: vk::ImageAspectFlags::COLOR,
            layer_count: 1,
            ..Default::default()
        },
        image_extent: made.size.into(),
        ..Default::default()
    };
    let all = vk::PipelineStageFlags::ALL_COMMANDS;
    // SAFETY: The device, image and buffer are valid, and so are the structures.
    unsafe {
        let info = vk::CommandPoolCreateInfo::default().queue_family_index(made.family);
        let _ = call!(
            PFN_vkCreateCommandPool,
            c"vkCreateCommandPool"(made.device, &info, null(), &mut pool)
        );
        let info = vk::CommandBufferAllocateInfo::default()
            .command_pool(pool)
            .command_buffer_count(1);
        let _ = call!(
            PFN_vkAllocateCommandBuffers,
            c"vkAllocateCommandBuffers"(made.device, &info, &mut commands)
        );
        let info = vk::CommandBufferBeginInfo::default();
        let _ = call!(
            PFN_vkBeginCommandBuffer,
            c"vkBeginCommandBuffer"(commands, &info)
        );
        let barrier = |from, to| {
            let change = change(from, to);
            let (none, flags) = (0, vk::DependencyFlags::empty());
            call!(
                PFN_vkCmdPipelineBarrier,
                c"vkCmdPipelineBarrier"(
                    commands,
                    all,
                    all,
                    flags,
                    none,
                    null(),
                    none,
                    null(),
                    1,
                    &change
                )
            );
        };
        barrier(layouts[0], layouts[1]);
        call!(
            PFN_vkCmdCopyImageToBuffer,
            c"vkCmdCopyImageToBuffer"(commands, image, layouts[1], buffer, 1, &region)
        );
        barrier(layouts[1], layouts[0]);
        let _ = call!(PFN_vkEndCommandBuffer, c"vkEndCommandBuffer"(commands));
    }
    Some(commands)
}
