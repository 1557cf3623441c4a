//! Serial numbers that the PLC gives before the trigger: latched by SetUserData, taken by the next part, never inherited.

/// A serial number as it is on the wire, NUL padded.
pub(super) type Serial = [u8; 32];

/// What was latched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SerialLatch {
    latched: Option<Serial>,
    /// UserDataAck: until SetUserData falls.
    pub(super) is_acknowledged: bool,
}

impl SerialLatch {
    /// SetUserData rose.
    pub(super) fn latch(&mut self, serial: Serial) {
        self.latched = Some(serial);
        self.is_acknowledged = true;
    }

    /// SetUserData is 0.
    pub(super) fn release(&mut self) {
        self.is_acknowledged = false;
    }

    /// What the next part is called; nothing where nothing was latched.
    pub(super) fn serial(&self) -> Serial {
        self.latched.unwrap_or_default()
    }

    /// Whether something waits for the next part.
    pub(super) fn is_latched(&self) -> bool {
        self.latched.is_some()
    }

    /// Whether there is nothing to call the next part by: not latched, or latched as blank.
    pub(super) fn is_empty(&self) -> bool {
        self.serial().iter().all(|character| matches!(character, 0 | b' '))
    }

    /// The part has it.
    pub(super) fn consume(&mut self) {
        self.latched = None;
    }
}
