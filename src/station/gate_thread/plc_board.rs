//! The board of a gate over the PLC's registers: what its inputs do comes with the PLC's image, and the PLC reads in `GateFireCycleId` what to do. So there is
//! nothing to hear here, and nothing to set.

use std::time::Duration;

use crate::gate::board::{Board, Edge, GpioError, Inputs, Opened, Output, Outputs};

pub(super) struct PlcBoard;

impl Board for PlcBoard {
    fn open(&mut self) -> Result<Opened, GpioError> {
        Ok(Opened {
            inputs: Box::new(Self),
            levels: Vec::new(),
            outputs: Box::new(Self),
        })
    }
}

impl Inputs for PlcBoard {
    fn wait(&mut self, timeout: Duration) -> Result<Vec<Edge>, GpioError> {
        std::thread::sleep(timeout);
        Ok(Vec::new())
    }
}

impl Outputs for PlcBoard {
    fn set(&mut self, _: Output, _: bool) -> Result<(), GpioError> {
        Ok(())
    }
}
