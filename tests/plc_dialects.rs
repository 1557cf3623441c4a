//! What is printed for Siemens and Rockwell does the same as what is printed for IEC 61131-3, scan by scan and variable by variable.
//!
//! No tool of those makers runs here. Their texts are put into the spelling of the standard, by the few differences that the makers' manuals name,
//! parsed by the same parser of another make as the IEC text, and executed beside it, in lock-step, on whatever a station may say.

use std::fmt::Write;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use takt::line::config::ResultMode;
use takt::line::image::{StationImage, StationMode, WindowSlot, control};
use takt::part::{CycleId, Verdict};
use takt::plc::code::{Target, sources};
use takt::plc::signals::{self, PLC_REGISTERS};

use crate::cabinet::Cabinet;
use crate::skip::skip;
use crate::structured_text::Controller;

const SEED: u64 = 7_2026;

fn text(target: Target, mode: ResultMode) -> String {
    sources(target, mode).remove(0).text
}

fn block_name(mode: ResultMode) -> &'static str {
    match mode {
        ResultMode::Single => "TaktStation",
        ResultMode::Window => "TaktWindowStation",
    }
}

/// What lies between two lines, without them.
fn between<'a>(text: &'a str, first: &str, last: &str) -> &'a str {
    let (_, rest) = text.split_once(first).unwrap_or_else(|| panic!("no {first}"));
    rest.split_once(last).unwrap_or_else(|| panic!("no {last}")).0
}

/// The IEC source with another block, or another body of the block, in the place of its own.
fn exchanged(mode: ResultMode, own: &str, other: &str) -> String {
    let iec = text(Target::IecSt, mode);
    assert_eq!(iec.matches(own).count(), 1);
    iec.replace(own, other)
}

/// SCL names a block's own variables with `#` and global names within `"`; a block has attributes and a `BEGIN`; the timer is called `TON_TIME`.
fn from_scl(mode: ResultMode) -> String {
    let name = block_name(mode);
    let scl = text(Target::SiemensScl, mode);
    let mut block = String::from("\n");
    for line in between(&scl, &format!("FUNCTION_BLOCK \"{name}\"\n"), "END_FUNCTION_BLOCK").lines() {
        if !["{", "VERSION", "BEGIN"].iter().any(|start| line.starts_with(start)) {
            block.push_str(&line.replace("TON_TIME", "TON").replace('"', ""));
            block.push('\n');
        }
    }
    // The # of a variable stands at the beginning of a word; that of a literal does not.
    let mut standard = String::new();
    for character in block.chars() {
        if character != '#' || standard.ends_with(|before: char| before.is_ascii_alphanumeric()) {
            standard.push(character);
        }
    }
    let iec = text(Target::IecSt, mode);
    let own = between(&iec, &format!("FUNCTION_BLOCK {name}\n"), "END_FUNCTION_BLOCK").to_owned();
    exchanged(mode, &own, &standard)
}

/// Logix keeps bits in words, which its header lists; copies with COP and CPS; runs a timer by its members and `TONR`; writes FALSE and TRUE as 0 and 1.
fn from_logix(mode: ResultMode) -> String {
    let name = block_name(mode);
    let logix = text(Target::RockwellSt, mode);
    let body = between(
        &logix,
        &format!("// ---- The logic of the routine {name} ----\n"),
        "// ---- An example",
    );
    let mut standard = String::from("\n   END_VAR\n");
    let mut timer = (String::new(), String::new());
    for line in body.lines() {
        let statement = line.trim();
        if statement.starts_with("CPS(") || statement.contains(".Reset := ") {
            continue;
        }
        if let Some((_, enable)) = statement.split_once(".TimerEnable := ") {
            enable.trim_end_matches(';').clone_into(&mut timer.0);
        } else if let Some((_, preset)) = statement.split_once(".PRE := ") {
            let preset = preset.trim_end_matches(';');
            let is_number = preset.bytes().all(|digit| digit.is_ascii_digit());
            timer.1 = if is_number { format!("T#{preset}ms") } else { preset.to_owned() };
        } else if let Some(rest) = statement.strip_prefix("TONR(") {
            let timer_name = rest.trim_end_matches(");");
            writeln!(standard, "{timer_name}(IN := {}, PT := {});", timer.0, timer.1).unwrap();
        } else if let Some(rest) = statement.strip_prefix("COP(") {
            let [from, to, _] = rest.split(", ").collect::<Vec<_>>()[..] else {
                panic!("{statement}")
            };
            let whole = |array: &str| array.trim_end_matches("[0]").to_owned();
            writeln!(standard, "{} := {};", whole(to), whole(from)).unwrap();
        } else {
            standard.push_str(&line.replace(".DN", ".Q").replace(".ACC", ".ET"));
            standard.push('\n');
        }
    }
    for (structure, word, bit, signal) in bits(&logix) {
        // Longer numbers first: .1 is the beginning of .10.
        standard = standard.replace(&format!("{structure}.{word}.{bit}"), &format!("{structure}.{signal}"));
    }
    let iec = text(Target::IecSt, mode);
    let block = between(&iec, &format!("FUNCTION_BLOCK {name}\n"), "END_FUNCTION_BLOCK");
    let at = block.rfind("\n   END_VAR\n").unwrap();
    let own = block[at..].to_owned();
    exchanged(mode, &own, &standard)
}

/// Every bit that the header of the Logix text lists, those with the highest numbers first.
fn bits(logix: &str) -> Vec<(&'static str, String, u32, String)> {
    let mut bits = Vec::new();
    for structure in ["FromStation", "ToStation"] {
        let list = between(logix, &format!("// User-defined data type Takt{structure}_T:\n"), "\n//\n");
        for line in list.lines().filter(|line| line.contains(" : DINT   .")) {
            let (word, list) = line.trim_start_matches("//").trim().split_once(" : DINT   ").unwrap();
            for entry in list.split(", ") {
                let (bit, signal) = entry.trim_start_matches('.').split_once(' ').unwrap();
                bits.push((structure, word.to_owned(), bit.parse().unwrap(), signal.to_owned()));
            }
        }
    }
    bits.sort_by_key(|(_, _, bit, _)| std::cmp::Reverse(*bit));
    bits
}

/// Whatever a station may say, and a machine may want.
struct Chance {
    random: ChaCha8Rng,
    station: StationImage,
    inputs: Vec<(&'static str, i64)>,
}

impl Chance {
    fn new() -> Self {
        let mut station = StationImage {
            online: true,
            boot_id: 7,
            station_mode: StationMode::Auto,
            ..StationImage::default()
        };
        station.trigger_ready = true;
        Self {
            random: ChaCha8Rng::seed_from_u64(SEED),
            station,
            inputs: vec![
                ("LinkOk", 1),
                ("Enable", 1),
                ("PartTime", 300),
                ("AckTime", 200),
                ("ResultTime", 250),
                ("ClearTime", 100),
                ("CommandTime", 150),
                ("UserTime", 100),
                ("AliveTime", 350),
            ],
        }
    }

    fn once_in(&mut self, scans: u32) -> bool {
        self.random.random_ratio(1, scans)
    }

    /// A bit that is as it should be most of the time.
    fn mostly(&mut self, usual: bool, scans: u32) -> bool {
        usual != self.once_in(scans)
    }

    /// The next scan, after one in which the PLC said this.
    fn step(&mut self, scan: u32, said: &[u16; PLC_REGISTERS]) {
        let said = signals::plc_image(said);
        if scan.is_multiple_of(10) && !self.once_in(20) {
            self.station.heartbeat = self.station.heartbeat.wrapping_add(1);
        }
        self.station.echo_plc_session = said.plc_session;
        if self.once_in(700) {
            self.station.boot_id += 1;
        }
        let triggered = said.is(control::TRIGGER);
        self.station.trigger_ready = self.mostly(true, 8);
        self.station.trigger_ack = self.mostly(triggered, 8);
        self.station.missed_trigger = triggered && self.once_in(8);
        self.station.echo_trigger_id = said.cycle_id + u32::from(self.once_in(12));
        self.station.exposure_complete = self.once_in(2);
        self.show(said.cycle_id);
        self.station.user_data_ack = self.mostly(said.is(control::SET_USER_DATA), 4);
        self.station.command_done = self.mostly(said.is(control::EXECUTE_COMMAND), 4);
        self.station.command_failed = self.once_in(40);
        self.station.stop_request = self.once_in(9);
        let part = self.random.random_range(0..=said.cycle_id + 1);
        self.inputs = vec![
            ("LinkOk", i64::from(self.mostly(true, 60))),
            ("Enable", i64::from(self.mostly(true, 100))),
            ("NewSession", i64::from(self.once_in(300))),
            ("StartPart", i64::from(self.once_in(3))),
            ("Encoder", i64::from(self.random.random::<u32>())),
            ("Serial[0]", i64::from(self.random.random::<u16>())),
            ("LatchSerial", i64::from(self.once_in(30))),
            ("TestPart", i64::from(self.once_in(5))),
            ("RecipeNumber", i64::from(self.once_in(50))),
            ("Command", 5),
            ("ExecuteCommand", i64::from(self.once_in(20))),
            ("ClearError", i64::from(self.once_in(40))),
            ("BufferEnable", i64::from(self.once_in(2))),
            ("GateCycleId", i64::from(part)),
        ];
    }

    /// Results of parts of late, in the registers and in the window.
    fn show(&mut self, latest: u32) {
        let part = latest.saturating_sub(self.random.random_range(0..3));
        let verdict = *[Verdict::Ok, Verdict::Ok, Verdict::NotOk, Verdict::NotDecidable]
            .choose(&mut self.random)
            .unwrap();
        if self.once_in(4) {
            self.station.result_id += 1;
            self.station.echo_cycle_id = part;
            self.station.verdict = Some(verdict);
            self.station.result_valid = true;
            self.station.accept = self.mostly(verdict == Verdict::Ok, 10);
            self.station.window[self.station.result_id as usize % 16] = WindowSlot {
                cycle_id: CycleId::new(part),
                result_id: self.station.result_id,
                verdict: verdict.code(),
                defect_code: self.random.random(),
            };
        } else if self.once_in(3) {
            (self.station.result_valid, self.station.accept) = (false, false);
        }
        if self.once_in(200) {
            self.station.window = [WindowSlot::default(); 16];
        }
    }
}

fn do_the_same(mode: ResultMode, scans: u32) {
    let sources = [
        ("iec-st", text(Target::IecSt, mode)),
        ("siemens-scl", from_scl(mode)),
        ("rockwell-st", from_logix(mode)),
    ];
    let mut cabinets = Vec::new();
    for (name, source) in sources {
        match Controller::load(&source) {
            Ok(controller) => cabinets.push((name, Cabinet::new(controller, mode))),
            Err(reason) => return skip("plc_dialects", &reason),
        }
    }
    let mut chance = Chance::new();
    let mut said = [0; PLC_REGISTERS];
    let (mut passes, mut triggers) = (0, 0);
    for scan in 0..scans {
        chance.step(scan, &said);
        let mut read = signals::station_registers(&chance.station);
        if chance.once_in(15) {
            read[43] ^= 1;
        }
        let first = scan == 0 || chance.once_in(900);
        let scanned = |(_, cabinet): &mut (&str, Cabinet)| {
            for (input, value) in &chance.inputs {
                cabinet.set(input, *value);
            }
            cabinet.first = first;
            cabinet.scan_registers(&read, i64::from(10 * scan))
        };
        let written: Vec<_> = cabinets.iter_mut().map(scanned).collect();
        said = written[0];
        let [(_, iec), others @ ..] = &cabinets[..] else { unreachable!() };
        for ((name, other), written) in others.iter().zip(&written[1..]) {
            assert_eq!(*written, said, "{name}, scan {scan}");
            assert_eq!(other.state(), iec.state(), "{name}, scan {scan}");
        }
        passes += u32::from(iec.is("PassPart"));
        triggers += u32::from(signals::plc_image(&said).is(control::TRIGGER));
    }
    println!("{mode:?}: {scans} scans, {triggers} with Trigger, {passes} with PassPart");
    assert!(
        passes > scans / 200 && triggers > scans / 50,
        "{passes} and {triggers} of {scans}: little was tried"
    );
}

#[test]
fn all_texts_of_single_and_buffered_mode_do_the_same() {
    do_the_same(ResultMode::Single, 4000);
}

#[test]
fn all_texts_of_window_mode_do_the_same() {
    do_the_same(ResultMode::Window, 2000);
}
