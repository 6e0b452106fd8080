//! A name server (RFC 1035 §4) over UDP that answers what the test says.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// Of a record of type A, and of one of type AAAA.
const A: u16 = 1;
const AAAA: u16 = 28;

type Zone = Arc<Mutex<HashMap<String, (u32, Vec<IpAddr>)>>>;

/// A listening name server. Names it does not know do not exist.
pub struct NameServer {
    /// Where it listens.
    pub address: SocketAddr,
    zone: Zone,
    questions: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

impl NameServer {
    /// One that knows no name.
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (zone, questions) = (Zone::default(), Arc::<Mutex<Vec<String>>>::default());
        let mut task = JoinSet::new();
        let (known, asked) = (zone.clone(), questions.clone());
        task.spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                if let Some(answer) = answer(&buffer[..length], &known, &asked) {
                    let _ = socket.send_to(&answer, peer).await;
                }
            }
        });
        Self {
            address,
            zone,
            questions,
            _task: task,
        }
    }

    /// From now on `name` has these addresses, for so many seconds.
    pub fn set(&self, name: &str, seconds: u32, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| text.parse().unwrap());
        let record = (seconds, addresses.collect());
        self.zone.lock().unwrap().insert(name.to_owned(), record);
    }

    /// How often it was asked for this name.
    pub fn asked_for(&self, name: &str) -> usize {
        let questions = self.questions.lock().unwrap();
        questions.iter().filter(|asked| *asked == name).count()
    }

    /// `[dns]` with this server.
    pub fn config(&self) -> String {
        format!("[dns]\nservers = [\"{}\"]\n", self.address)
    }
}

fn answer(query: &[u8], zone: &Zone, asked: &Mutex<Vec<String>>) -> Option<Vec<u8>> {
    let (name, end) = name(query, 12)?;
    let kind = u16::from_be_bytes(query.get(end..end + 2)?.try_into().ok()?);
    asked.lock().unwrap().push(name.clone());
    let found = zone.lock().unwrap().get(&name).cloned();
    let (seconds, addresses) = found.clone().unwrap_or_default();
    let records: Vec<Vec<u8>> = addresses
        .iter()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(address), A) => Some(address.octets().to_vec()),
            (IpAddr::V6(address), AAAA) => Some(address.octets().to_vec()),
            _ => None,
        })
        .collect();
    let mut answer = query[..2].to_vec();
    // A response, recursion available; NXDOMAIN where the name is not known.
    answer.extend([0x81, if found.is_some() { 0x80 } else { 0x83 }]);
    answer.extend([0, 1, 0, u8::try_from(records.len()).ok()?, 0, 0, 0, 0]);
    answer.extend(query.get(12..end + 4)?);
    for record in records {
        // The name is the question's.
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1]);
        answer.extend(seconds.to_be_bytes());
        answer.extend(u16::try_from(record.len()).ok()?.to_be_bytes());
        answer.extend(record);
    }
    Some(answer)
}

/// The name at a place, in lower case, and the place behind it.
fn name(query: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = query.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
}
