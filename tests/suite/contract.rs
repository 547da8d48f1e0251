//! The service of the suite.
#![allow(clippy::too_many_arguments, reason = "twelve are tested")]

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rpc::{Code, Context, Status};
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::{Barrier, Mutex, Notify, mpsc, watch};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
}

mod private {
    /// Nobody outside sees the fields; they travel all the same.
    #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
    pub(crate) struct Account {
        number: u64,
        owner: Option<String>,
    }
    impl Account {
        pub(crate) fn new(number: u64, owner: &str) -> Self {
            let owner = Some(owner.to_owned());
            Self { number, owner }
        }
    }
}
pub(crate) use private::Account;

/// An [`Account`] of a later version.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LargerAccount {
    pub(crate) number: u64,
    pub(crate) owner: Option<String>,
    pub(crate) branch: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum DivideError {
    ByZero { dividend: i64 },
    Call(Code8, String),
}
/// The number of a code: what `From<Status>` keeps.
pub(crate) type Code8 = u8;

impl fmt::Display for DivideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
impl std::error::Error for DivideError {}
impl From<Status> for DivideError {
    fn from(status: Status) -> Self {
        Self::Call(status.code().number(), status.message().to_owned())
    }
}
impl rpc::ErrorCode for DivideError {
    fn code(&self) -> Code {
        Code::OutOfRange
    }
}

/// How serializing goes wrong.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum Fragile {
    Whole,
    Fails,
    Panics,
}

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole => serializer.serialize_unit_variant("Fragile", 0, "Whole"),
            Self::Fails => Err(S::Error::custom("it is fragile")),
            Self::Panics => panic!("secret of the serializer"),
        }
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Panic {
    AtOnce,
    AfterAwait,
    InDrop,
}

#[rpc::service]
pub(crate) trait Suite {
    async fn hello(&self, name: String) -> rpc::Result<String>;
    async fn nothing(&self) -> rpc::Result<()>;
    async fn twelve(
        &self,
        a: u8,
        b: i16,
        c: u32,
        d: i64,
        e: u128,
        f: bool,
        g: char,
        h: f64,
        i: String,
        j: Option<u8>,
        k: (u8, u8),
        l: Vec<String>,
    ) -> rpc::Result<String>;
    async fn by_reference(
        &self,
        text: &str,
        bytes: &[u8],
        point: &Point,
    ) -> rpc::Result<(String, Vec<u8>, Point)>;
    /// Fails unless both are the handler's own.
    async fn keep(&self, text: Cow<'_, str>, point: Cow<'_, Point>)
    -> rpc::Result<(String, Point)>;
    async fn count_to(&self, n: u32) -> rpc::Result<Vec<u32>>;
    async fn lengths(&self, words: Vec<String>) -> rpc::Result<HashMap<String, usize>>;
    async fn divide(&self, a: i64, b: i64) -> Result<i64, DivideError>;
    async fn refuse(&self, code: u8, message: String) -> rpc::Result<()>;
    async fn metadata(&self, key: String) -> rpc::Result<Vec<String>>;
    async fn metadata_and_error(&self) -> Result<(), DivideError>;
    #[rpc(oneway)]
    async fn note(&self, line: String) -> rpc::Result<()>;
    #[rpc(oneway)]
    async fn note_and_panic(&self, line: String) -> rpc::Result<()>;
    async fn reverse(&self, bytes: Vec<u8>) -> rpc::Result<Vec<u8>>;
    async fn repeat(&self, byte: u8, count: u32) -> rpc::Result<Vec<u8>>;
    async fn length(&self, bytes: &[u8]) -> rpc::Result<u64>;
    async fn account(&self, account: Account) -> rpc::Result<Account>;
    async fn panic(&self, how: Panic) -> rpc::Result<()>;
    async fn give(&self, fragile: u8) -> rpc::Result<Fragile>;
    async fn take(&self, fragile: Fragile) -> rpc::Result<()>;
    async fn meet(&self, place: usize) -> rpc::Result<usize>;
    async fn park(&self) -> rpc::Result<u8>;
}

/// How many calls [`Suite::meet`] needs before one is answered.
pub(crate) const PARTY: usize = 100;

/// What the handlers share with the test.
#[derive(Clone)]
pub(crate) struct Shared {
    notes: Arc<Mutex<mpsc::Receiver<String>>>,
    note: mpsc::Sender<String>,
    arrived: Arc<Barrier>,
    turn: Arc<watch::Sender<usize>>,
    pub(crate) parked: Arc<Notify>,
    pub(crate) unpark: Arc<Notify>,
}

impl Default for Shared {
    fn default() -> Self {
        let (note, notes) = mpsc::channel(16);
        Self {
            notes: Arc::new(Mutex::new(notes)),
            note,
            arrived: Arc::new(Barrier::new(PARTY)),
            turn: Arc::new(watch::channel(PARTY).0),
            parked: Arc::default(),
            unpark: Arc::default(),
        }
    }
}

impl Shared {
    /// The next line that a oneway handler noted.
    pub(crate) async fn next_note(&self) -> String {
        self.notes.lock().await.recv().await.unwrap()
    }
}

pub(crate) struct Host(pub Shared);

struct PanicsInDrop;
impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("secret of the drop");
    }
}

impl Suite for Host {
    async fn hello(&self, name: String) -> rpc::Result<String> {
        Ok(format!("Hello, {name}!"))
    }
    async fn nothing(&self) -> rpc::Result<()> {
        Ok(())
    }
    async fn twelve(
        &self,
        a: u8,
        b: i16,
        c: u32,
        d: i64,
        e: u128,
        f: bool,
        g: char,
        h: f64,
        i: String,
        j: Option<u8>,
        k: (u8, u8),
        l: Vec<String>,
    ) -> rpc::Result<String> {
        Ok(format!("{:?}", (a, b, c, d, e, f, g, h, i, j, k, l)))
    }
    async fn by_reference(
        &self,
        text: &str,
        bytes: &[u8],
        point: &Point,
    ) -> rpc::Result<(String, Vec<u8>, Point)> {
        Ok((text.to_owned(), bytes.to_vec(), point.clone()))
    }
    async fn keep(
        &self,
        text: Cow<'_, str>,
        point: Cow<'_, Point>,
    ) -> rpc::Result<(String, Point)> {
        match (text, point) {
            (Cow::Owned(text), Cow::Owned(point)) => Ok((text, point)),
            lent => Err(Status::internal(format!("{lent:?} is somebody else's"))),
        }
    }
    async fn count_to(&self, n: u32) -> rpc::Result<Vec<u32>> {
        Ok((1..=n).collect())
    }
    async fn lengths(&self, words: Vec<String>) -> rpc::Result<HashMap<String, usize>> {
        Ok(words.into_iter().map(|w| (w.clone(), w.len())).collect())
    }
    async fn divide(&self, a: i64, b: i64) -> Result<i64, DivideError> {
        a.checked_div(b).ok_or(DivideError::ByZero { dividend: a })
    }
    async fn refuse(&self, code: u8, message: String) -> rpc::Result<()> {
        Err(Status::new(Code::from_number(code), message))
    }
    async fn metadata(&self, key: String) -> rpc::Result<Vec<String>> {
        let context = Context::current();
        // A handler that waits has the same surroundings afterwards.
        tokio::task::yield_now().await;
        Context::current()
            .add_response_metadata("seen", &key)
            .unwrap();
        Ok(context
            .metadata()
            .get_all(&key)
            .map(str::to_owned)
            .collect())
    }
    async fn metadata_and_error(&self) -> Result<(), DivideError> {
        Context::current()
            .add_response_metadata("why", "zero")
            .unwrap();
        Err(DivideError::ByZero { dividend: 1 })
    }
    async fn note(&self, line: String) -> rpc::Result<()> {
        self.0
            .note
            .send(line)
            .await
            .map_err(|e| Status::internal(e.to_string()))
    }
    async fn note_and_panic(&self, line: String) -> rpc::Result<()> {
        let _ = self.0.note.send(line).await;
        panic!("nobody is told");
    }
    async fn reverse(&self, mut bytes: Vec<u8>) -> rpc::Result<Vec<u8>> {
        bytes.reverse();
        Ok(bytes)
    }
    async fn repeat(&self, byte: u8, count: u32) -> rpc::Result<Vec<u8>> {
        Ok(vec![byte; count as usize])
    }
    async fn length(&self, bytes: &[u8]) -> rpc::Result<u64> {
        Ok(bytes.len() as u64)
    }
    async fn account(&self, account: Account) -> rpc::Result<Account> {
        Ok(account)
    }
    async fn panic(&self, how: Panic) -> rpc::Result<()> {
        match how {
            Panic::AtOnce => panic!("secret of the handler"),
            Panic::AfterAwait => {
                tokio::task::yield_now().await;
                panic!("secret of the handler")
            }
            Panic::InDrop => {
                let _local = PanicsInDrop;
                tokio::task::yield_now().await;
                Ok(())
            }
        }
    }
    async fn give(&self, fragile: u8) -> rpc::Result<Fragile> {
        Ok([Fragile::Whole, Fragile::Fails, Fragile::Panics][usize::from(fragile)])
    }
    async fn take(&self, _: Fragile) -> rpc::Result<()> {
        Ok(())
    }
    async fn meet(&self, place: usize) -> rpc::Result<usize> {
        self.0.arrived.wait().await;
        let mut turn = self.0.turn.subscribe();
        turn.wait_for(|turn| *turn == place + 1).await.unwrap();
        self.0.turn.send_replace(place);
        Ok(place)
    }
    async fn park(&self) -> rpc::Result<u8> {
        self.0.parked.notify_one();
        self.0.unpark.notified().await;
        Ok(7)
    }
}
