// SPDX-License-Identifier: MIT OR Apache-2.0

//! The firmware model on top of the coprocessor.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use vagx_fw::{FaultInfo, Firmware, FwConfig};
use vagx_trace::Trace;

use crate::coprocessor::{Application, Boot, Port};
use crate::sgx::FaultRegister;
use crate::soc::{Clock, Environment};

/// What the firmware can do to the machine.
struct Outside {
    port: Port,
    fault: FaultRegister,
    clock: Clock,
}

impl vagx_fw::Port for Outside {
    fn send(&self, ep: u8, msg: u64) {
        self.port.send(ep, msg);
    }

    fn syslog(&self, line: &str) {
        self.port.syslog(line);
    }

    fn crash(&self, why: &str) {
        self.port.crash(why);
    }

    fn fault_regs(&self, info: FaultInfo) {
        self.fault.set(info.t8103());
    }

    fn now_ticks(&self) -> u64 {
        self.clock.ticks()
    }
}

/// One boot of the firmware.
struct Running {
    firmware: RwLock<Option<Firmware>>,
    stopping: Mutex<()>,
}

impl Application for Running {
    fn message(&self, endpoint: u8, message: u64) {
        let firmware = self.firmware.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(firmware) = &*firmware {
            firmware.message(endpoint, message);
        }
    }

    fn stop(&self) {
        let _alone = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slot = self
            .firmware
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Taken out first, so that messages are not held up by what it still does.
        let firmware = slot.take();
        drop(slot);
        if let Some(mut firmware) = firmware {
            firmware.stop();
        }
    }
}

/// What starts the firmware of `config` in that environment.
pub fn boot(config: FwConfig, env: &Environment, trace: Trace) -> Box<Boot> {
    let env = env.clone();
    let uat = Arc::new(env.uat.clone());
    Box::new(move |port| {
        let outside = Outside {
            port,
            fault: env.fault.clone(),
            clock: env.clock.clone(),
        };
        let firmware = Firmware::new(
            config.clone(),
            uat.clone(),
            env.ram.clone(),
            env.handoff,
            Arc::new(outside),
            trace.clone(),
        );
        Arc::new(Running {
            firmware: RwLock::new(Some(firmware)),
            stopping: Mutex::new(()),
        })
    })
}
