//! The station as Modbus server: every function, who may write, what is torn, and what comes from those who do not speak Modbus.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use takt::flow::now;
use takt::line::image::{StationImage, WindowSlot, control};
use takt::part::{CycleId, Verdict};
use takt::plc::modbus::{CONNECTIONS_MAX, Counters, ModbusConfig, ModbusServer, SILENCE_MAX};
use takt::plc::signals::{STATION_REGISTERS, station_registers};
use takt::plc::{PlcEvent, Shown};

/// The address that may write, one more that may on request, and one that never does.
const PLC: Ipv4Addr = Ipv4Addr::LOCALHOST;
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Far more than anything takes; only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A station without a line: what the PLC does is looked at, what it is shown is set.
struct Station {
    server: ModbusServer,
    shown: Shown,
    events: Receiver<PlcEvent>,
}

impl Station {
    fn start() -> Self {
        Self::with(&[PLC], SILENCE_MAX)
    }

    fn with(writers: &[Ipv4Addr], silence_max: Duration) -> Self {
        Self::at(PLC, writers, silence_max)
    }

    fn at(listen: Ipv4Addr, writers: &[Ipv4Addr], silence_max: Duration) -> Self {
        let shown: Shown = Arc::new(ArcSwap::from_pointee(image(7)));
        let (sender, events) = mpsc::channel();
        let config = ModbusConfig {
            listen: SocketAddr::from((listen, 0)),
            writers: writers.iter().copied().map(IpAddr::from).collect(),
            tags: false,
            silence_max,
        };
        let server = ModbusServer::start(&config, Arc::clone(&shown), move |event| {
            let _ = sender.send(event);
        })
        .unwrap();
        Self { server, shown, events }
    }

    /// A client with an address of its own.
    fn client(&self, from: Ipv4Addr) -> Client {
        Client::connect(from, self.server.address())
    }

    /// What happened since the last time. Whatever an answer is about happened before the answer.
    fn happened(&self) -> Vec<PlcEvent> {
        self.events.try_iter().collect()
    }

    /// Waits for what happens next.
    fn next(&self) -> PlcEvent {
        self.events.recv_timeout(PATIENCE).unwrap()
    }

    fn counters(&self) -> Arc<Counters> {
        self.server.counters()
    }
}

/// An image in which everything a PLC compares says `number`.
fn image(number: u32) -> StationImage {
    let mut image = StationImage {
        online: true,
        accept: true,
        warning: true,
        heartbeat: number as u16,
        boot_id: number as u16,
        echo_cycle_id: number,
        result_id: number,
        acquisition_id: number,
        echo_trigger_id: number,
        process_time_us: number,
        verdict: Some(Verdict::Ok),
        ..StationImage::default()
    };
    image.counts.duplicate = number;
    image.window = [WindowSlot {
        cycle_id: CycleId::new(number),
        result_id: number,
        verdict: 1,
        defect_code: number as u16,
    }; 16];
    image
}

/// A client that sends what it is told, bytes as they are.
pub(crate) struct Client {
    stream: TcpStream,
    transaction: u16,
}

impl Client {
    pub(crate) fn connect(from: Ipv4Addr, to: SocketAddr) -> Self {
        // The standard library cannot choose the address that a connection comes from.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::from((from, 0))).unwrap();
            socket.connect(to).await.unwrap().into_std().unwrap()
        });
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, transaction: 0 }
    }

    /// Function and data of the answer to function and data.
    fn ask(&mut self, pdu: &[u8]) -> Vec<u8> {
        self.transaction += 1;
        let unit = self.transaction as u8;
        self.stream.write_all(&framed(self.transaction, unit, pdu)).unwrap();
        let mut header = [0; 7];
        self.stream.read_exact(&mut header).unwrap();
        let [high, low] = self.transaction.to_be_bytes();
        assert_eq!((&header[..4], header[6]), (&[high, low, 0, 0][..], unit));
        let mut answer = vec![0; usize::from(u16::from_be_bytes([header[4], header[5]])) - 1];
        self.stream.read_exact(&mut answer).unwrap();
        answer
    }

    /// Registers read by function 3 or 4.
    pub(crate) fn read(&mut self, function: u8, start: u16, count: u16) -> Vec<u16> {
        let answer = self.ask(&pdu(function, &[start, count]));
        assert_eq!((answer[0], usize::from(answer[1])), (function, answer.len() - 2));
        words(&answer[2..])
    }

    /// Function 16.
    pub(crate) fn write(&mut self, start: u16, values: &[u16]) -> Vec<u8> {
        self.ask(&write_registers(start, values))
    }

    /// Waits until the server closes the connection; what it says before is left aside.
    fn is_closed(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            // It is closed so too, if the server had not read everything.
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
        }
    }
}

fn pdu(function: u8, words: &[u16]) -> Vec<u8> {
    let mut pdu = vec![function];
    pdu.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    pdu
}

fn write_registers(start: u16, values: &[u16]) -> Vec<u8> {
    let mut pdu = pdu(16, &[start, values.len() as u16]);
    pdu.push(2 * values.len() as u8);
    pdu.extend(values.iter().flat_map(|word| word.to_be_bytes()));
    pdu
}

fn write_and_read(read: [u16; 2], start: u16, values: &[u16]) -> Vec<u8> {
    let mut pdu = pdu(23, &read);
    pdu.extend(&write_registers(start, values)[1..]);
    pdu
}

fn framed(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let mut frame = transaction.to_be_bytes().to_vec();
    frame.extend([0, 0]);
    frame.extend((pdu.len() as u16 + 1).to_be_bytes());
    frame.push(unit);
    frame.extend(pdu);
    frame
}

fn words(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks(2).map(|word| u16::from_be_bytes([word[0], word[1]])).collect()
}

fn long(words: &[u16]) -> u32 {
    u32::from(words[0]) << 16 | u32::from(words[1])
}

/// The control word, and which of its bits were written, of every write.
fn written(events: &[PlcEvent]) -> Vec<(u16, u16)> {
    let written = events.iter().filter_map(|event| match event {
        PlcEvent::Wrote { image, written, .. } => Some((image.control, *written)),
        _ => None,
    });
    written.collect()
}

#[test]
fn registers_are_read_where_the_map_has_them() {
    let station = Station::start();
    let mut client = station.client(PLC);
    let expected = station_registers(&station.shown.load());
    assert_eq!(client.read(4, 0, 44), expected[..44]);
    assert_eq!(client.read(4, 100, 98), expected[100..]);
    assert_eq!(client.read(4, 44, 56), [0; 56], "reserved");
    assert_eq!(client.read(3, 1000, 44), expected[..44]);
    assert_eq!(client.read(3, 1100, 98), expected[100..]);
    assert_eq!(client.read(3, 0, 40), [0; 40]);
    assert_eq!(client.ask(&pdu(2, &[0, 16])), [2, 2, 0b0000_0001, 0b0010_0000], "Online and Accept");
    assert_eq!(client.ask(&pdu(2, &[12, 3])), [2, 1, 0b010]);
    assert_eq!(client.ask(&pdu(1, &[0, 9])), [1, 2, 0, 0]);
}

#[test]
fn a_write_is_one_event_with_the_bits_it_covered() {
    let station = Station::start();
    let mut client = station.client(PLC);
    assert_eq!(station.next(), PlcEvent::Connected);
    let before = now();

    // CycleId to CycleIdTail in one: the block that a PLC writes before the trigger.
    let mut block = [0; 30];
    (block[1], block[29], block[4]) = (41, 41, 0x4142);
    assert_eq!(client.write(4, &block), [16, 0, 4, 0, 30]);
    let events = station.happened();
    let [PlcEvent::Wrote { at, image, written: 0 }] = events[..] else {
        panic!("{events:?}")
    };
    assert!(before <= at && at <= now());
    assert_eq!((image.cycle_id, image.cycle_id_tail, &image.serial[..3]), (41, 41, &b"AB\0"[..]));

    assert_eq!(client.ask(&pdu(6, &[0, 0b011])), [6, 0, 0, 0, 0b011]);
    assert_eq!(client.ask(&pdu(5, &[2, 0xFF00])), [5, 0, 2, 0xFF, 0]);
    assert_eq!(client.ask(&pdu(5, &[1, 0])), [5, 0, 1, 0, 0]);
    assert_eq!(client.ask(&[15, 0, 2, 0, 3, 1, 0b1111_1010]), [15, 0, 2, 0, 3]);
    assert_eq!(client.ask(&[15, 0, 7, 0, 9, 2, 0b10, 0]), [15, 0, 7, 0, 9]);
    let control = [
        (0b011, 0xFFFF),
        (0b111, 1 << 2),
        (0b101, 1 << 1),
        (0b0_1001, 0b111 << 2),
        (0x0109, 0x1FF << 7),
    ];
    assert_eq!(written(&station.happened()), control);
    assert_eq!(client.ask(&pdu(1, &[0, 16])), [1, 2, 0x09, 0x01], "coils are the control word");

    // Written before it is read: what comes back is what was written.
    let answer = client.ask(&write_and_read([2, 4], 3, &[99, 7, 8]));
    assert_eq!((&answer[..2], words(&answer[2..])), (&[23, 8][..], vec![0, 99, 7, 8]));
    let answer = client.ask(&write_and_read([1008, 2], 0, &[1]));
    assert_eq!(words(&answer[2..]), [0, 7], "ResultId, in the mirror");
    assert_eq!(written(&station.happened()), [(0x0109, 0), (1, 0xFFFF)]);
}

#[test]
fn reserved_bits_and_registers_read_0() {
    let station = Station::start();
    let mut client = station.client(PLC);
    client.write(0, &[0xFFFF; 40]);
    let registers = client.read(3, 0, 40);
    assert_eq!((registers[0], registers[25], registers[31]), (0x07FF, 0, 0));
    assert_eq!(registers.iter().filter(|register| **register == 0xFFFF).count(), 37);
    assert_eq!(written(&station.happened()), [(0x07FF, 0xFFFF)]);
}

#[test]
fn what_is_illegal_gets_its_exception_and_changes_nothing() {
    const FUNCTION: u8 = 1;
    const ADDRESS: u8 = 2;
    const VALUE: u8 = 3;
    let station = Station::start();
    let mut client = station.client(PLC);
    let cases = [
        (pdu(7, &[]), FUNCTION),
        (pdu(8, &[0, 0]), FUNCTION),
        (pdu(22, &[0, 0, 0]), FUNCTION),
        (pdu(43, &[0x0E01, 0]), FUNCTION),
        (pdu(1, &[0, 17]), ADDRESS),
        (pdu(2, &[16, 1]), ADDRESS),
        (pdu(3, &[39, 2]), ADDRESS),
        (pdu(3, &[999, 2]), ADDRESS),
        (pdu(3, &[1197, 2]), ADDRESS),
        (pdu(4, &[197, 2]), ADDRESS),
        (pdu(4, &[0xFFFF, 2]), ADDRESS),
        (pdu(5, &[16, 0xFF00]), ADDRESS),
        (pdu(6, &[40, 1]), ADDRESS),
        (pdu(6, &[1000, 1]), ADDRESS),
        (vec![15, 0, 15, 0, 2, 1, 3], ADDRESS),
        (vec![15, 0, 0, 0x07, 0xB0, 246].into_iter().chain([0; 246]).collect(), ADDRESS),
        (write_registers(39, &[1, 2]), ADDRESS),
        (write_registers(1000, &[1]), ADDRESS),
        (write_and_read([0, 1], 1000, &[1]), ADDRESS),
        (write_and_read([1197, 2], 0, &[1]), ADDRESS),
        (pdu(3, &[0, 0]), VALUE),
        (pdu(4, &[0, 126]), VALUE),
        (pdu(1, &[0, 2001]), VALUE),
        (pdu(4, &[0]), VALUE),
        (pdu(5, &[0, 1]), VALUE),
        (vec![15, 0, 0, 0x07, 0xB0, 1, 0xFF], VALUE),
        (write_registers(0, &[]), VALUE),
        (write_registers(0, &[1; 2])[..8].to_vec(), VALUE),
        (write_and_read([0, 126], 0, &[1]), VALUE),
    ];
    for (request, exception) in cases {
        assert_eq!(client.ask(&request), [request[0] | 0x80, exception], "{request:?}");
    }
    assert_eq!(client.read(3, 0, 40), [0; 40]);
    assert_eq!(written(&station.happened()), []);
}

#[test]
fn a_client_of_another_make_understands_every_function() {
    use tokio_modbus::prelude::*;

    let station = Station::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut plc = tcp::connect_slave(station.server.address(), Slave(17)).await.unwrap();
        plc.write_multiple_registers(4, &[0, 41]).await.unwrap().unwrap();
        plc.write_single_register(0, 0b11).await.unwrap().unwrap();
        plc.write_single_coil(2, true).await.unwrap().unwrap();
        plc.write_multiple_coils(3, &[true, false, true]).await.unwrap().unwrap();
        assert_eq!(
            plc.read_coils(0, 8).await.unwrap().unwrap(),
            [true, true, true, true, false, true, false, false]
        );
        assert_eq!(plc.read_discrete_inputs(12, 4).await.unwrap().unwrap(), [false, true, false, false]);
        assert_eq!(plc.read_holding_registers(4, 2).await.unwrap().unwrap(), [0, 41]);
        assert_eq!(plc.read_input_registers(42, 2).await.unwrap().unwrap(), [0, 7]);
        assert_eq!(plc.read_write_multiple_registers(4, 2, 5, &[42]).await.unwrap().unwrap(), [0, 42]);
        assert_eq!(
            plc.read_input_registers(197, 2).await.unwrap(),
            Err(ExceptionCode::IllegalDataAddress)
        );
    });
}

#[test]
fn the_newest_connection_of_the_plc_takes_over() {
    let station = Station::start();
    let mut old = station.client(PLC);
    old.write(0, &[control::ONLINE]);
    assert_eq!(station.happened()[..1], [PlcEvent::Connected]);

    let mut new = station.client(PLC);
    assert_eq!((station.next(), station.next()), (PlcEvent::Lost, PlcEvent::Connected));
    old.is_closed();
    assert_eq!(new.read(3, 0, 1), [control::ONLINE], "what was written stays");
    new.write(0, &[0]);
    assert_eq!(written(&station.happened()), [(0, 0xFFFF)]);
    assert_eq!(station.counters().replaced.load(Ordering::Relaxed), 1);

    drop(new);
    assert_eq!(station.next(), PlcEvent::Lost);
}

#[test]
fn whoever_is_not_on_the_list_only_reads() {
    let station = Station::start();
    let mut other = station.client(OTHER);
    assert_eq!(other.read(4, 8, 2), [0, 7]);
    let writes = [
        pdu(5, &[0, 0xFF00]),
        pdu(6, &[0, 1]),
        vec![15, 0, 0, 0, 1, 1, 1],
        write_registers(0, &[1]),
        write_registers(1000, &[1]),
        write_and_read([0, 1], 0, &[1]),
    ];
    for write in &writes {
        assert_eq!(other.ask(write), [write[0] | 0x80, 1]);
    }
    assert_eq!(other.read(3, 0, 40), [0; 40]);
    assert_eq!(station.happened(), [], "the line hears nothing of it");
    assert_eq!(station.counters().refused_writes.load(Ordering::Relaxed), writes.len() as u64);
}

#[test]
fn a_second_plc_waits_until_the_first_is_gone() {
    let station = Station::with(&[PLC, SECOND], SILENCE_MAX);
    let mut first = station.client(PLC);
    first.write(0, &[1]);
    let mut second = station.client(SECOND);
    assert_eq!(second.write(0, &[0]), [0x90, 1]);
    assert_eq!(second.read(3, 0, 1), [1]);
    assert_eq!(station.happened().len(), 2, "Connected, Wrote");

    drop(first);
    assert_eq!((station.next(), station.next()), (PlcEvent::Lost, PlcEvent::Connected));
    assert_eq!(second.write(0, &[0]), [16, 0, 0, 0, 1]);
}

#[test]
fn an_answer_comes_from_one_image() {
    let station = Station::start();
    // Both halves of each number are the same, so that registers can be compared with each other.
    let images: Vec<Arc<StationImage>> = (1..200).map(|number| Arc::new(image(number * 0x0001_0001))).collect();
    station.shown.store(Arc::clone(&images[0]));
    let address = station.server.address();
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut plc = Client::connect(PLC, address);
            let mut seen = BTreeSet::new();
            while seen.len() < 50 {
                let block = plc.read(4, 0, 44);
                let numbers: BTreeSet<u32> = [4, 6, 8, 16, 36, 38, 42].iter().map(|at| long(&block[*at..])).collect();
                assert_eq!(numbers.len(), 1, "{block:?}");
                seen.extend(numbers);
                let window = plc.read(4, 100, 98);
                let slots = window[..96]
                    .chunks(6)
                    .flat_map(|slot| [slot[0], slot[1], slot[2], slot[3], slot[5]]);
                let halves: BTreeSet<u16> = slots.chain(window[96..].iter().copied()).collect();
                assert_eq!(halves.len(), 1, "{window:?}");
            }
        });
        for image in images.iter().cycle().take_while(|_| !reader.is_finished()) {
            station.shown.store(Arc::clone(image));
        }
    });
}

#[test]
fn requests_sent_together_are_answered_in_order() {
    let station = Station::start();
    let mut plc = station.client(PLC);
    let frames: Vec<u8> = (0..500_u16)
        .flat_map(|heartbeat| framed(heartbeat, 1, &pdu(6, &[3, heartbeat])))
        .collect();
    let mut answers = vec![0; frames.len()];
    thread::scope(|scope| {
        let mut sender = plc.stream.try_clone().unwrap();
        let frames = &frames;
        scope.spawn(move || sender.write_all(frames).unwrap());
        plc.stream.read_exact(&mut answers).unwrap();
    });
    // A single write is answered by repeating it.
    assert_eq!(answers, frames);
    let heartbeats: Vec<u16> = station
        .happened()
        .iter()
        .filter_map(|event| match event {
            PlcEvent::Wrote { image, .. } => Some(image.heartbeat),
            _ => None,
        })
        .collect();
    assert_eq!(heartbeats, (0..500).collect::<Vec<u16>>());
}

#[test]
fn a_connection_without_modbus_is_closed() {
    let station = Station::start();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0x16, 3, 1, 2, 0, 1],
        &[0, 1, 0, 0, 0xFF, 0xFF],
        &[0, 1, 0, 0, 0, 1],
    ] {
        let mut other = station.client(OTHER);
        other.stream.write_all(garbage).unwrap();
        other.is_closed();
    }
    // Who left is counted before somebody new is served.
    station.client(OTHER).read(4, 0, 1);
    assert_eq!(station.counters().garbage.load(Ordering::Relaxed), 4);
}

#[test]
fn a_connection_without_words_is_closed() {
    let station = Station::with(&[PLC], Duration::from_millis(50));
    let mut half = station.client(OTHER);
    // It may have been closed by now.
    let _ = half.stream.write_all(&[0, 1, 0, 0, 0, 6, 1]);
    half.is_closed();
    station.client(PLC).is_closed();
    assert_eq!((station.next(), station.next()), (PlcEvent::Connected, PlcEvent::Lost));
    assert_eq!(station.counters().silent.load(Ordering::Relaxed), 2);
}

#[test]
fn readers_do_not_keep_the_plc_out() {
    let station = Station::start();
    let mut readers: Vec<Client> = (1..CONNECTIONS_MAX).map(|_| station.client(OTHER)).collect();
    for reader in &mut readers {
        assert_eq!(reader.read(4, 9, 1), [7]);
    }
    station.client(OTHER).is_closed();
    assert_eq!(station.client(PLC).write(0, &[1]), [16, 0, 0, 0, 1]);
    assert_eq!(readers[0].read(4, 9, 1), [7]);
    assert_eq!(station.counters().turned_away.load(Ordering::Relaxed), 1);
}

#[test]
fn the_end_of_the_server_ends_everything() {
    // An address that no client of a test comes from, so none can take the port in between.
    let station = Station::at(Ipv4Addr::new(127, 0, 0, 9), &[PLC], SILENCE_MAX);
    let address = station.server.address();
    let mut plc = station.client(PLC);
    let mut other = station.client(OTHER);
    plc.write(0, &[1]);
    other.read(4, 0, 1);
    let taken = ModbusServer::start(&config_at(address), Arc::clone(&station.shown), |_| {})
        .unwrap_err()
        .to_string();
    assert!(taken.contains(&address.to_string()) && taken.contains("plc.listen"), "{taken}");

    let shown = Arc::clone(&station.shown);
    drop(station);
    plc.is_closed();
    other.is_closed();
    let again = ModbusServer::start(&config_at(address), shown, |_| {}).unwrap();
    assert_eq!(
        Client::connect(PLC, again.address()).read(3, 0, 1),
        [0],
        "a start begins with nothing written"
    );
}

fn config_at(listen: SocketAddr) -> ModbusConfig {
    ModbusConfig {
        listen,
        writers: vec![PLC.into()],
        tags: false,
        silence_max: SILENCE_MAX,
    }
}

#[test]
fn no_station_starts_where_it_cannot_listen() {
    let refused = |config: &ModbusConfig| {
        let shown: Shown = Arc::default();
        ModbusServer::start(config, shown, |_| {}).unwrap_err().to_string()
    };
    // Means nothing without an interface.
    let message = refused(&config_at("[fe80::1]:1502".parse().unwrap()));
    assert!(
        message.contains("[fe80::1]:1502") && message.contains("address of this machine"),
        "{message}"
    );
    // Kept for documentation, no machine has it: one whose network is not up yet looks the same, and its station starts.
    ModbusServer::start(&config_at("192.0.2.1:1502".parse().unwrap()), Arc::default(), |_| {}).unwrap();
    let mut many = config_at(SocketAddr::from((PLC, 0)));
    many.writers = vec![PLC.into(); 17];
    assert!(refused(&many).contains("17 addresses"));
}

/// How many well-formed writes of existing registers these bytes begin with, frame by frame: told here once more, on purpose in other words.
fn good_writes(mut bytes: &[u8]) -> usize {
    let mut good = 0;
    while let [_, _, 0, 0, 0, length @ 2..=254, rest @ ..] = bytes {
        let Some((frame, after)) = rest.split_at_checked(usize::from(*length)) else {
            break;
        };
        bytes = after;
        let at = |place: usize| usize::from(frame[place]) << 8 | usize::from(frame[place + 1]);
        let block = |from: usize, most: usize, bytes: &dyn Fn(usize) -> usize, space: usize| {
            frame.len() > from + 4 && {
                let (start, count) = (at(from), at(from + 2));
                (1..=most).contains(&count)
                    && usize::from(frame[from + 4]) == bytes(count)
                    && frame.len() == from + 5 + bytes(count)
                    && start + count <= space
            }
        };
        let is_good = match frame[1] {
            5 => frame.len() == 6 && at(2) < 16 && [0, 0xFF00].contains(&at(4)),
            6 => frame.len() == 6 && at(2) < 40,
            15 => block(2, 1968, &|count| count.div_ceil(8), 16),
            16 => block(2, 123, &|count| 2 * count, 40),
            23 => {
                block(6, 121, &|count| 2 * count, 40) && (1..=125).contains(&at(4)) && {
                    let end = at(2) + at(4);
                    end <= 40 || at(2) >= 1000 && end <= 1198
                }
            }
            _ => false,
        };
        good += usize::from(is_good);
    }
    good
}

/// Bytes as a broken, foreign or hostile client may send them.
fn nonsense(random: &mut ChaCha8Rng) -> Vec<u8> {
    let start = *[0, 3, 4, 24, 38, 39, 40, 100, 999, 1000, 1190, 0xFFFF].choose(random).unwrap();
    let count = *[0, 1, 2, 16, 36, 40, 98, 121, 123, 125, 126].choose(random).unwrap();
    let values: Vec<u16> = (0..count).map(|_| random.random()).collect();
    let request = match random.random_range(0..8) {
        0 => write_registers(start, &values),
        1 => write_and_read([random.random_range(0..50), count], start, &values),
        2 => pdu(random.random_range(0..5), &[start, count]),
        3 => pdu(5, &[random.random_range(0..18), *[0, 0xFF00, 1].choose(random).unwrap()]),
        4 => pdu(6, &[start, random.random()]),
        5 => {
            let count = random.random_range(0..20_u16);
            let mut request = pdu(15, &[random.random_range(0..17), count]);
            request.push(count.div_ceil(8) as u8);
            request.extend((0..count.div_ceil(8)).map(|_| random.random::<u8>()));
            request
        }
        6 => pdu(random.random(), &[start]),
        _ => (0..random.random_range(1..40)).map(|_| random.random()).collect(),
    };
    let mut frame = framed(random.random(), random.random(), &request);
    match random.random_range(0..8) {
        0 => frame.truncate(random.random_range(0..frame.len())),
        1 => {
            let place = random.random_range(0..frame.len());
            frame[place] = random.random();
        }
        2 => {
            let place = random.random_range(7..frame.len());
            frame[place] ^= 1 << random.random_range(0..8);
        }
        3 => frame[4..6].copy_from_slice(&random.random::<u16>().to_be_bytes()),
        4 => frame.extend((0..random.random_range(1..600)).map(|_| random.random::<u8>())),
        5 => frame = (0..random.random_range(0..600)).map(|_| random.random()).collect(),
        6 => frame.extend(frame.clone()),
        _ => {}
    }
    frame
}

#[test]
fn nonsense_writes_nothing_and_harms_nobody() {
    let station = Station::start();
    let before = station_registers(&station.shown.load());
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let (mut good, mut bad) = (0, 0);
    for case in 0..4000 {
        let bytes = nonsense(&mut random);
        let from = if random.random() { PLC } else { OTHER };
        let mut client = station.client(from);
        // Who is cut off while speaking is cut off.
        let _ = client
            .stream
            .write_all(&bytes)
            .and_then(|()| client.stream.shutdown(Shutdown::Write));
        client.is_closed();
        let expected = if from == PLC { good_writes(&bytes) } else { 0 };
        assert_eq!(
            written(&station.happened()).len(),
            expected,
            "case {case} from {from}: {bytes:02x?}"
        );
        good += expected;
        bad += usize::from(expected == 0);
    }
    assert!(
        good > 100 && bad > 1000,
        "{good} good, {bad} bad: the nonsense is too good or too bad to tell"
    );
    let mut observer = station.client(OTHER);
    let (block, window) = (observer.read(4, 0, 100), observer.read(4, 100, 98));
    assert_eq!([block, window].concat(), before[..STATION_REGISTERS]);
}
