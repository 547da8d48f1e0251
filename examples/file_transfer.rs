//! Uploads and downloads a file in parts: neither side ever has all of it in memory.
//!
//! Run it with `cargo run --example file_transfer`.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use futures_util::stream;
use rpc::{Server, Status, Streaming};

#[rpc::service]
trait Archive {
    /// Stores a file; gives its hash.
    async fn upload(&self, parts: Streaming<Vec<u8>>) -> rpc::Result<u64>;
    async fn download(&self) -> rpc::Result<Streaming<Vec<u8>>>;
}

struct Shelf(PathBuf);

impl Archive for Shelf {
    async fn upload(&self, parts: Streaming<Vec<u8>>) -> rpc::Result<u64> {
        save(parts, &self.0, "received").await
    }
    async fn download(&self) -> rpc::Result<Streaming<Vec<u8>>> {
        read(&self.0).map_err(failed)
    }
}

const PART_BYTES: u64 = 64 * 1024;

/// A file as a stream; a part is read when the other side has room for it.
fn read(path: &Path) -> io::Result<Streaming<Vec<u8>>> {
    let mut file = File::open(path)?;
    let parts = std::iter::from_fn(move || {
        let mut part = Vec::new();
        let count = Read::take(&mut file, PART_BYTES).read_to_end(&mut part);
        count.map(|count| (count > 0).then_some(part)).transpose()
    });
    let parts = parts.map(|part| part.map_err(failed));
    Ok(Streaming::try_new(stream::iter(parts)))
}

/// Writes a stream to a file, tells how far it got, and gives the hash.
async fn save(mut parts: Streaming<Vec<u8>>, path: &Path, verb: &str) -> rpc::Result<u64> {
    let mut file = File::create(path).map_err(failed)?;
    let (mut hasher, mut length) = (DefaultHasher::new(), 0);
    while let Some(part) = parts.next().await {
        let part = part?;
        hasher.write(&part);
        file.write_all(&part).map_err(failed)?;
        length += part.len();
        if length % (1 << 20) == 0 {
            println!("{verb} {} MiB", length >> 20);
        }
    }
    Ok(hasher.finish())
}

fn failed(error: io::Error) -> Status {
    Status::internal(error.to_string())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("file-transfer-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let bytes: Vec<u8> = (0..5_u32 << 20).map(|i| (i ^ (i >> 9)) as u8).collect();
    fs::write(folder.join("original"), &bytes)?;
    let service = ArchiveServer::new(Shelf(folder.join("shelf")));
    let server = Server::builder().add_service(service);
    let server = server.bind("tcp://127.0.0.1:0").await?;
    let client = ArchiveClient::connect(server.uri()).await?;
    let sent = client.upload(read(&folder.join("original"))?).await?;
    let back = save(client.download().await?, &folder.join("back"), "got back").await?;
    println!("the hash was {sent:016x} and is {back:016x}");
    assert_eq!(sent, back);
    Ok(fs::remove_dir_all(&folder)?)
}
