//! The configuration file: `config.toml` at the root of the repository is its manual. Defaults here and there
//! are the same, which a test holds.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use engram_routing::Rule;
use engram_segmenter::Quality;
use engram_workflow::NewsKind;
use serde::{Deserialize, Serialize};
use snafu::{ResultExt, Snafu};

/// Why a configuration could not be used.
#[derive(Debug, Snafu)]
pub enum Error {
    /// The file is not there or not readable.
    #[snafu(display("could not read the configuration {}: {source}", path.display()))]
    Read {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML, or has a key Engram does not know.
    #[snafu(display("could not understand the configuration {}: {source}", path.display()))]
    Parse {
        /// The file asked for.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A rule that cannot work.
    #[snafu(display("could not accept a rule: {problem}"))]
    BadRule {
        /// What is wrong with it.
        problem: String,
    },
}

macro_rules! section {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident : $type:ty = $default:expr),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type),* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),* }
            }
        }
    };
}

section! {
    /// `[server]`
    Server {
        /// Address and port to listen on.
        bind: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)),
        /// HTTP threads; 0: one a core.
        workers: usize = 0,
        /// Seconds given to requests in progress when stopping.
        shutdown_seconds: u64 = 10,
        /// Certificate chain, PEM; with the key: HTTPS.
        tls_certificate: Option<PathBuf> = None,
        /// Its private key, PEM.
        tls_key: Option<PathBuf> = None,
        /// Web pages whose scripts may call from a browser.
        cors_origins: Vec<String> = Vec::new(),
    }
}
section! {
    /// `[auth]`
    Auth {
        /// Whether requests need a token; none: wherever one was made, or other machines can reach the server.
        required: Option<bool> = None,
    }
}
section! {
    /// `[audit]`
    Audit {
        /// Whether accesses are recorded.
        enabled: bool = true,
        /// Whether queries are, too.
        queries: bool = true,
        /// A file's size, MiB, from which another is begun.
        rotate_mb: u64 = 64,
        /// Full files that are kept.
        keep: u32 = 16,
    }
}
section! {
    /// `[dicomweb]`
    Dicomweb {
        /// Whether DELETE is answered.
        allow_delete: bool = true,
        /// The URL that clients reach `/dicomweb` under; none: what each names in `Host`.
        public_url: Option<String> = None,
        /// Servers that are known by name: searched, retrieved from and sent to.
        nodes: Vec<DicomwebNode> = Vec::new(),
    }
}
/// `[[dicomweb.nodes]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DicomwebNode {
    /// The name by which rules and the API know it.
    pub name: String,
    /// The URL below which its `/studies` lies.
    pub url: String,
    /// How many seconds it may be silent; none: 60.
    pub timeout_seconds: Option<u64>,
    /// The token that it asks for.
    pub token: Option<String>,
    /// The user whom it asks for, and
    pub username: Option<String>,
    /// the password.
    pub password: Option<String>,
}
section! {
    /// `[viewer]`
    Viewer {
        /// The viewer's folder; none: the fetched one.
        folder: Option<PathBuf> = None,
    }
}
section! {
    /// `[dimse]`
    Dimse {
        /// Address and port; none: no DIMSE without TLS.
        bind: Option<SocketAddr> = None,
        /// Address and port of DIMSE over TLS; none: no such.
        tls_bind: Option<SocketAddr> = None,
        /// Certificate chain, PEM; none: the one of `[server]`.
        tls_certificate: Option<PathBuf> = None,
        /// Its private key, PEM.
        tls_key: Option<PathBuf> = None,
        /// Authorities, PEM, of which a client must show a certificate; none: it needs none.
        tls_client_ca: Option<PathBuf> = None,
        /// Our AE title.
        ae_title: String = "ENGRAM".into(),
        /// AE titles that may call; none: any, on loopback alone.
        calling_ae_titles: Vec<String> = Vec::new(),
        /// Addresses that may call; none: any.
        calling_addresses: Vec<IpAddr> = Vec::new(),
        /// Whether C-FIND, C-MOVE and C-GET are answered.
        query_retrieve: bool = true,
        /// Nodes that are known by name.
        nodes: Vec<Node> = Vec::new(),
        /// Retrievals from nodes and sendings to them that are worked on at a time.
        max_transfers: usize = 2,
        /// Associations served at a time.
        max_associations: usize = 16,
        /// The largest PDU that a peer may send, KiB.
        max_pdu_kb: u32 = 128,
        /// Seconds of silence after which an association is dropped.
        timeout_seconds: u64 = 60,
    }
}
/// `[[dimse.nodes]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// What people call it; none: its AE title.
    pub name: Option<String>,
    /// Its AE title.
    pub ae_title: String,
    /// Host and port.
    pub address: String,
    /// The AE title that it knows us by; none: ours.
    pub calling_ae_title: Option<String>,
    /// Seconds of silence after which it is given up; none: as for those who call.
    pub timeout_seconds: Option<u64>,
    /// Whether it is spoken to over TLS.
    #[serde(default)]
    pub tls: bool,
    /// Authorities, PEM, of which its certificate must be; none: the system's.
    pub tls_ca: Option<PathBuf>,
    /// The name that its certificate must be for; none: the host of its address.
    pub tls_server_name: Option<String>,
    /// Whether what is sent to it counts as sent only once it has committed itself to keep it.
    #[serde(default)]
    pub commit: bool,
}

section! {
    /// `[storage]`
    Storage {
        /// Folder of everything that is kept.
        data: PathBuf = PathBuf::from("data"),
        /// Cache of the embedded database, MiB.
        cache_mb: u64 = 64,
        /// Memory for instances of up to 1 MiB while they are received, MiB.
        receive_mb: u64 = 8,
    }
}
section! {
    /// `[limits]`: sizes in MiB.
    Limits {
        /// Connections held at a time; further ones wait.
        max_connections: usize = 1024,
        /// Requests answered at a time; further ones get 503.
        max_requests: usize = 256,
        /// Seconds a request's head, or a TLS handshake, may take.
        request_head_seconds: u64 = 10,
        /// Seconds that a STOW-RS body may stand still, or a body of the API may take.
        request_body_seconds: u64 = 60,
        /// Seconds an idle connection is kept.
        keep_alive_seconds: u64 = 75,
        /// Free space below which nothing is stored.
        min_free_disk_mb: u64 = 512,
        /// Body of one request.
        max_request_mb: u64 = 16384,
        /// One Part 10 object.
        max_instance_mb: u64 = 2048,
        /// Parts of one STOW-RS request.
        max_instances_per_request: usize = 20000,
        /// Metadata of one STOW-RS request that carries its instances as JSON or XML.
        max_metadata_mb: u64 = 64,
        /// One decoded frame.
        max_frame_mb: u64 = 512,
        /// Frames, or pictures, in one answer.
        max_frames_per_answer: usize = 4096,
        /// Objects decoded, rendered or transcoded at a time; 0: one a core.
        max_decoding: usize = 0,
        /// One volume in memory.
        max_volume_mb: u64 = 4096,
    }
}
section! {
    /// `[models]`
    Models {
        /// The bundle's folder; none: the shipped one.
        bundle: Option<PathBuf> = None,
        /// Folders of bundles served beside it.
        bundles: Vec<PathBuf> = Vec::new(),
        /// The ONNX Runtime library; none: the fetched one.
        onnxruntime: Option<PathBuf> = None,
        /// "auto", or one device, or several between commas.
        device: String = "auto".into(),
        /// Compute threads of a device; 0: one a core.
        threads: usize = 0,
        /// Images in one call at the most.
        max_batch: usize = 16,
        /// Tensors of one call, MiB.
        memory_mb: u64 = 2048,
    }
}
section! {
    /// `[memory]`
    Memory {
        /// Memory features kept at hand, MiB.
        cache_mb: u64 = 512,
        /// Fewer candidates than this are scanned exactly.
        exact_below: usize = 2000,
    }
}
section! {
    /// `[segmentation]`
    Segmentation {
        /// Speed against accuracy.
        quality: Quality = Quality::Balanced,
        /// Exemplars a slice; 0: the bundle's recommendation.
        exemplars_per_slice: usize = 0,
        /// Whether neighbouring slices condition each other.
        propagation: bool = true,
        /// Whether small organs get a second pass on a crop.
        close_up: bool = true,
        /// Confidence below which a slice is for review; none: the bundle's recommendation.
        review_below: Option<f32> = None,
        /// Image features kept between uses, MiB, and as much of exemplars' memories.
        cache_mb: u64 = 1024,
    }
}
section! {
    /// `[jobs]`
    Jobs {
        /// Segmentations worked on at a time.
        segmentation_workers: usize = 1,
        /// Finished jobs that are remembered.
        keep_finished: usize = 1000,
        /// Attempts after the server died under a job.
        max_attempts: u32 = 3,
    }
}
section! {
    /// `[outbox]`
    Outbox {
        /// Seconds to the second attempt; they double with each further one.
        first_retry_seconds: u64 = 5,
        /// The most seconds between attempts.
        longest_retry_seconds: u64 = 900,
        /// Hours after which what fails is given up.
        give_up_hours: u64 = 72,
        /// Deliveries that went well and are remembered.
        keep_finished: usize = 1000,
        /// Deliveries that wait or were given up, at the most.
        max_waiting: usize = 100_000,
    }
}
/// `[[webhooks]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Its name.
    pub name: String,
    /// Where it is called.
    pub url: String,
    /// What its calls are signed with.
    pub secret: Option<String>,
    /// What it hears of; empty: everything.
    #[serde(default)]
    pub events: Vec<NewsKind>,
}
section! {
    /// `[worklist]`
    Worklist {
        /// How workitems name this server: Code Value of its Station Name Code.
        station_name: String = "ENGRAM".into(),
        /// Workitems of clients that have not ended.
        max_open: usize = 10000,
        /// Workitems that ended and are kept, and as many under a deletion lock.
        keep_final: usize = 1000,
        /// One workitem, KiB.
        max_workitem_kb: usize = 256,
        /// AE titles that subscribe to the worklist, and to one workitem.
        max_subscribers: usize = 64,
        /// WebSockets over which events go out.
        max_connections: usize = 64,
    }
}
section! {
    /// `[log]`
    Log {
        /// Level or filter.
        level: String = "info".into(),
        /// "text" or "json".
        format: LogFormat = LogFormat::Text,
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For log collectors.
    Json,
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)] // each section documents itself
pub struct Config {
    pub server: Server,
    pub auth: Auth,
    pub audit: Audit,
    pub dicomweb: Dicomweb,
    pub viewer: Viewer,
    pub dimse: Dimse,
    pub storage: Storage,
    pub limits: Limits,
    pub models: Models,
    pub memory: Memory,
    pub segmentation: Segmentation,
    pub jobs: Jobs,
    pub outbox: Outbox,
    pub worklist: Worklist,
    pub log: Log,
    pub webhooks: Vec<Webhook>,
    pub rules: Vec<Rule>,
}

impl Config {
    /// Reads `path`, resolving relative paths against its folder. No path: the defaults.
    pub fn load(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path).context(ReadSnafu { path })?;
        let mut config: Self = toml::from_str(&text).map_err(Box::new).context(ParseSnafu { path })?;
        if let Some(problem) = config.rules.iter().find_map(engram_routing::problem) {
            return BadRuleSnafu { problem }.fail();
        }
        config.resolve(path.parent().unwrap_or(Path::new("")));
        Ok(config)
    }

    fn resolve(&mut self, folder: &Path) {
        self.storage.data = folder.join(&self.storage.data);
        let named = [
            &mut self.models.bundle,
            &mut self.models.onnxruntime,
            &mut self.server.tls_certificate,
            &mut self.server.tls_key,
            &mut self.viewer.folder,
            &mut self.dimse.tls_certificate,
            &mut self.dimse.tls_key,
            &mut self.dimse.tls_client_ca,
        ];
        let named = named.into_iter().flatten();
        let of_nodes = self.dimse.nodes.iter_mut().filter_map(|node| node.tls_ca.as_mut());
        for path in named.chain(&mut self.models.bundles).chain(of_nodes) {
            *path = folder.join(&path);
        }
    }
}

/// MiB to bytes, without overflow.
pub fn mebibytes(n: u64) -> u64 {
    n.saturating_mul(1 << 20)
}

/// A time limit in seconds. No time at all would refuse everyone.
pub fn at_least_a_second(seconds: u64) -> Duration {
    Duration::from_secs(seconds.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_states_the_defaults() {
        let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config.toml");
        let text = std::fs::read_to_string(manual).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
    }

    #[test]
    fn a_typing_mistake_is_an_error() {
        assert!(toml::from_str::<Config>("[server]\nbinde = \"127.0.0.1:1\"").is_err());
    }

    #[test]
    fn relative_paths_start_at_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        std::fs::write(&file, "[storage]\ndata = \"kept\"\n[models]\nbundle = \"b\"\nbundles = [\"c\"]\n[server]\ntls_key = \"k\"")
            .unwrap();
        let config = Config::load(Some(&file)).unwrap();
        assert_eq!(config.storage.data, folder.path().join("kept"));
        assert_eq!(config.models.bundle, Some(folder.path().join("b")));
        assert_eq!(config.models.bundles, [folder.path().join("c")]);
        assert_eq!(config.server.tls_key, Some(folder.path().join("k")));
    }
}
