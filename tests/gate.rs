//! A gate of the station's own over the PLC's registers, with a real station: the PLC counts the belt, the parts at the gate's sensor and what is
//! ejected, and lets pass what `GateFireCycleId` names.

use std::thread::sleep;
use std::time::Duration;

use takt::line::error_code::ErrorCode;
use takt::line::image::StationImage;

use crate::cell::Cell;
use crate::station::Plc;

/// From the trigger to the sensor, and to the gate; where that begins to act, counts of a millimetre.
const SENSOR: u32 = 300;
const GATE: u32 = 600;
const ACTS_FROM: u32 = GATE - 7;

/// A count every 12 ms: below top speed, whatever this machine does.
const STEP: (u32, Duration) = (2, Duration::from_millis(24));

const REJECT: &str = r#"
[reject]
owner = "station"
board = "plc"
mm_per_count = 1
top_speed_mm_s = 100
part_length_mm = 30
tolerance_mm = 20

[[gate]]
name = "scrap"
kind = "energise_to_pass"
sensor_mm = 300
gate_mm = 600
actuation_ms = 20
margin_mm = 5
"#;

/// The belt, as its PLC counts it.
struct Belt(Plc);

impl Belt {
    /// Goes on, and never sees the gate act.
    fn go(&mut self, counts: u32) {
        for _ in 0..counts / STEP.0 {
            self.step();
            assert_eq!(self.0.shown().gate_fire_cycle_id, 0);
        }
    }

    fn step(&mut self) {
        // The belt takes its time; nothing waits for anybody here.
        sleep(STEP.1);
        let counted = &mut self.0.image.counted;
        counted.encoder = counted.encoder.wrapping_add(STEP.0);
        self.0.write();
    }

    /// A part is at the trigger, and the outcome of it is there.
    fn part(&mut self, cycle_id: u32) -> StationImage {
        self.0.image.encoder = self.0.image.counted.encoder;
        let image = self.0.inspect(cycle_id);
        assert!(image.accept);
        image
    }

    /// So many parts come to the sensor between two scans.
    fn come(&mut self, parts: u16) {
        let counted = &mut self.0.image.counted;
        counted.parts = counted.parts.wrapping_add(parts);
        counted.part_encoder = counted.encoder;
        self.0.write();
    }
}

#[test]
fn a_gate_over_the_registers_passes_a_good_part_and_nothing_that_nobody_knows() {
    let engine = "[engine]\nthreads = 1\n";
    let cell = Cell::new(&[(engine, &format!("{engine}{REJECT}"))]);
    let _running = cell.start();
    let mut plc = Plc::connect(&cell);
    // Counters wrap, and are where they are when the station starts.
    (plc.image.counted.encoder, plc.image.counted.parts) = (u32::MAX - 500, u16::MAX);
    let mut belt = Belt(plc.ready());
    // What lay before the gate when the station started is not known.
    belt.go(GATE - SENSOR + 50);

    belt.part(1);
    belt.go(SENSOR);
    belt.come(1);
    belt.go(ACTS_FROM - SENSOR - 1);
    belt.step();
    belt.0.wait(|image| image.gate_fire_cycle_id == 1);
    for _ in 0..20 {
        belt.step();
    }
    let passed = belt.0.wait(|image| image.gate_fire_cycle_id == 0);
    assert_eq!(passed.error_code, 0);

    belt.part(2);
    belt.go(SENSOR);
    belt.come(2);
    belt.0.wait(|image| image.error_code == ErrorCode::EncoderJump.code());
    belt.go(GATE - SENSOR + 40);
}
