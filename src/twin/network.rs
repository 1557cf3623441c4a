//! The network between a station and its historian: a relay on loopback whose cable can be pulled.
//!
//! Bounds: [`CONNECTIONS_MAX`] connections at a time; more wait. Nothing is kept but what is on its way in one direction of a connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 64;

/// A relay in front of a server. Dropping it ends every connection.
pub struct Network {
    address: SocketAddr,
    up: watch::Sender<bool>,
    cuts: Arc<AtomicUsize>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Network {
    /// Listens at `near` (port 0: a free one) and leads to `server`.
    ///
    /// # Errors
    /// When the system gives no port or no thread.
    pub fn between(near: SocketAddr, server: SocketAddr) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(near))?;
        let address = listener.local_addr()?;
        let (up, is_up) = watch::channel(true);
        let (stop, cuts) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (stop.clone(), Arc::clone(&cuts));
        let run = move || runtime.block_on(stopped.run_until_cancelled_owned(relay(listener, server, is_up, counted)));
        let thread = std::thread::Builder::new().name("network".into()).spawn(move || _ = run())?;
        Ok(Self {
            address,
            up,
            cuts,
            stop,
            thread: Some(thread),
        })
    }

    /// Where the station connects.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Pulls the cable: every connection breaks, and new ones break at once until [`Self::mend`].
    pub fn cut(&self) {
        self.up.send_replace(false);
    }

    /// Plugs it in again.
    pub fn mend(&self) {
        self.up.send_replace(true);
    }

    /// Connections that a cut has broken.
    pub fn broken(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn relay(listener: TcpListener, server: SocketAddr, up: watch::Receiver<bool>, cuts: Arc<AtomicUsize>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let Ok((client, _)) = listener.accept().await else { continue };
        let (up, cuts) = (up.clone(), Arc::clone(&cuts));
        connections.spawn(async move {
            let _place = place;
            carry(client, server, up, &cuts).await;
        });
    }
}

/// Carries bytes both ways until an end closes or the cable is pulled.
async fn carry(mut client: TcpStream, server: SocketAddr, mut up: watch::Receiver<bool>, cuts: &AtomicUsize) {
    if !*up.borrow_and_update() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = up.wait_for(|up| !up) => {
            cuts.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_cut_breaks_what_is_connected_and_what_connects_until_it_is_mended() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let network = Network::between("127.0.0.1:0".parse().unwrap(), server.local_addr().unwrap()).unwrap();
        let echo = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = server.accept().unwrap();
                let mut byte = [0];
                while stream.read(&mut byte).is_ok_and(|count| count == 1) {
                    let _ = stream.write_all(&byte);
                }
            }
        });
        let connect = || std::net::TcpStream::connect(network.address()).unwrap();
        let comes_back = |stream: &mut std::net::TcpStream| {
            let mut byte = [0];
            stream.write_all(&[7]).is_ok() && stream.read(&mut byte).is_ok_and(|count| count == 1) && byte == [7]
        };
        let mut first = connect();
        assert!(comes_back(&mut first));
        network.cut();
        assert!(!comes_back(&mut first));
        assert!(!comes_back(&mut connect()));
        network.mend();
        let mut last = connect();
        assert!(comes_back(&mut last));
        assert_eq!(network.broken(), 1);
        drop(last);
        echo.join().unwrap();
    }
}
