//! API tokens: who may come in, with which roles. Primary state, journalled, so that `engram rebuild` brings them back
//! and a revoked one never rises again.
//!
//! A token is 256 random bits, of which SHA-256 is kept. A slow hash, as passwords need one, would protect nothing
//! here: there is no dictionary to try, and 2^256 guesses are out of reach with any hash.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engram_archive::{Journal, JournalError};
use parking_lot::{Mutex, RwLock};
use rand::TryRngCore;
use rand::rngs::OsRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use snafu::{ResultExt, Snafu, ensure};
use subtle::ConstantTimeEq;
use utoipa::ToSchema;

use super::role::Roles;

/// The journal's name in the data folder.
const JOURNAL: &str = "tokens.journal";
/// What every token begins with, so that scanners for leaked secrets can tell one.
const PREFIX: &str = "engram_";
/// Tokens in force at a time: each is compared with what a request carries.
const MAX_TOKENS: usize = 1000;
/// Longest name, in bytes.
const MAX_NAME: usize = 64;
/// Longest life that can be asked for, in days.
pub const MAX_DAYS: u32 = 36_500;

/// Why tokens could not be read or changed.
#[derive(Debug, Snafu)]
pub enum Error {
    /// A name that would not read well in a path and in the audit log.
    #[snafu(display("could not name a token {name:?}: 1 to {MAX_NAME} letters, digits and any of . _ - @"))]
    BadName {
        /// The name.
        name: String,
    },
    /// A token of that name is in force, or expired and not revoked.
    #[snafu(display("could not add the token {name}: there is one of that name"))]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A token without a role opens nothing.
    #[snafu(display("could not add the token {name}: it has no role"))]
    NoRole {
        /// The name.
        name: String,
    },
    /// A life of no days, or beyond all reason.
    #[snafu(display("could not let a token live for {days} days: 1 to {MAX_DAYS}"))]
    BadLife {
        /// Days asked for.
        days: u32,
    },
    /// There are as many as there may be.
    #[snafu(display("could not add a token: there are {MAX_TOKENS} already"))]
    TooMany,
    /// No such token, or it is revoked.
    #[snafu(display("could not find a token named {name}"))]
    NoSuchToken {
        /// The name.
        name: String,
    },
    /// The system gives no random numbers.
    #[snafu(display("could not get random numbers from the system: {source}"))]
    Random {
        /// What the system said.
        source: rand::rand_core::OsError,
    },
    /// The journal could not be read or written.
    #[snafu(display("could not keep the record of tokens"))]
    Journal {
        /// Why.
        source: JournalError,
    },
}

/// One thing that was decided. The journal never holds a token, only its hash.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
enum Record {
    Added { token: Token, sha256: String },
    Revoked { name: String },
}

/// What may be told of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Who or what bears it; the audit log names it so.
    pub name: String,
    /// What it lets its bearer do.
    pub roles: Roles,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Seconds since 1970; none: it lives until it is revoked.
    pub expires_at: Option<u64>,
}

impl Token {
    /// Whether its time is over.
    pub fn is_expired(&self) -> bool {
        self.expires_at.is_some_and(|end| end <= now())
    }
}

/// What a request's token turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recognised {
    /// In force.
    InForce(Token),
    /// Its time is over.
    Expired(Token),
    /// Revoked, or never made here.
    Unknown,
}

#[derive(Debug, Default)]
struct Known {
    /// By name; expired ones too, revoked ones not.
    tokens: BTreeMap<String, (Token, [u8; 32])>,
    /// Whether there ever was a token, revoked or not.
    ever: bool,
}

impl Known {
    fn apply(&mut self, record: Record) {
        self.ever = true;
        match record {
            Record::Added { token, sha256 } => {
                let mut hash = [0; 32];
                // A hash that does not read matches no token.
                match hex::decode_to_slice(&sha256, &mut hash) {
                    Ok(()) => drop(self.tokens.insert(token.name.clone(), (token, hash))),
                    Err(error) => {
                        tracing::error!(name = token.name, %error, "left out a token whose hash does not read")
                    }
                }
            }
            Record::Revoked { name } => drop(self.tokens.remove(&name)),
        }
    }
}

/// All tokens and their journal.
pub struct Tokens {
    /// Held while one is added or revoked; requests are never kept waiting for the disk.
    journal: Mutex<Journal<Record>>,
    known: RwLock<Known>,
}

impl Tokens {
    /// Opens the journal in the data folder and replays it.
    ///
    /// # Errors
    /// [`Error::Journal`]
    pub fn open(data: &Path) -> Result<Self, Error> {
        let mut known = Known::default();
        let journal =
            Journal::open(&data.join(JOURNAL), |record| known.apply(record)).context(JournalSnafu)?;
        Ok(Self { journal: Mutex::new(journal), known: RwLock::new(known) })
    }

    /// Makes a token that lives for `days`, or until it is revoked. The text is what its bearer needs, and is kept
    /// nowhere. Durable when it returns.
    ///
    /// # Errors
    /// All but [`Error::NoSuchToken`].
    pub fn add(&self, name: &str, roles: Roles, days: Option<u32>) -> Result<(Token, String), Error> {
        let token = asked_for(name, roles, days)?;
        let text = random_text()?;
        let record = Record::Added { token: token.clone(), sha256: hex::encode(hash(&text)) };

        let journal = self.journal.lock();
        {
            let known = self.known.read();
            ensure!(!known.tokens.contains_key(name), NameTakenSnafu { name });
            ensure!(known.tokens.len() < MAX_TOKENS, TooManySnafu);
        }
        journal.append(&record).context(JournalSnafu)?;
        self.known.write().apply(record);
        Ok((token, text))
    }

    /// Ends a token, for ever. Durable when it returns.
    ///
    /// # Errors
    /// [`Error::NoSuchToken`], [`Error::Journal`]
    pub fn revoke(&self, name: &str) -> Result<(), Error> {
        let journal = self.journal.lock();
        ensure!(self.known.read().tokens.contains_key(name), NoSuchTokenSnafu { name });
        let record = Record::Revoked { name: name.to_owned() };
        journal.append(&record).context(JournalSnafu)?;
        self.known.write().apply(record);
        Ok(())
    }

    /// All that are not revoked, by name.
    pub fn list(&self) -> Vec<Token> {
        self.known.read().tokens.values().map(|(token, _)| token.clone()).collect()
    }

    /// Whether a token was ever made, even if it is revoked by now.
    pub fn ever_any(&self) -> bool {
        self.known.read().ever
    }

    /// Whose token this is. Takes as long for a hash that is nearly right as for any other.
    pub fn recognise(&self, text: &str) -> Recognised {
        let hash = hash(text);
        let known = self.known.read();
        let mut found = None;
        for (token, kept) in known.tokens.values() {
            if bool::from(kept.ct_eq(&hash)) {
                found = Some(token);
            }
        }
        match found {
            None => Recognised::Unknown,
            Some(token) if token.is_expired() => Recognised::Expired(token.clone()),
            Some(token) => Recognised::InForce(token.clone()),
        }
    }
}

/// Whether a token of the data folder would be let in now. Changes nothing, so a server may be running.
///
/// # Errors
/// [`Error::Journal`]
pub fn any_in_force(data: &Path) -> Result<bool, Error> {
    let mut known = Known::default();
    Journal::read(&data.join(JOURNAL), |record| known.apply(record)).context(JournalSnafu)?;
    Ok(known.tokens.values().any(|(token, _)| !token.is_expired()))
}

fn asked_for(name: &str, roles: Roles, days: Option<u32>) -> Result<Token, Error> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    ensure!((1..=MAX_NAME).contains(&name.len()) && name.chars().all(fits), BadNameSnafu { name });
    ensure!(!roles.are_none(), NoRoleSnafu { name });
    if let Some(days) = days {
        ensure!((1..=MAX_DAYS).contains(&days), BadLifeSnafu { days });
    }
    let created_at = now();
    let expires_at = days.map(|days| created_at + u64::from(days) * 24 * 60 * 60);
    Ok(Token { name: name.to_owned(), roles, created_at, expires_at })
}

fn random_text() -> Result<String, Error> {
    let mut random = [0; 32];
    OsRng.try_fill_bytes(&mut random).context(RandomSnafu)?;
    Ok(format!("{PREFIX}{}", hex::encode(random)))
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use super::super::role::Role;
    use super::*;

    fn roles(roles: &[Role]) -> Roles {
        roles.iter().copied().collect()
    }

    #[test]
    fn a_token_is_known_by_its_text_alone_and_never_kept() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(folder.path()).unwrap();
        assert!(!tokens.ever_any());
        let (token, text) = tokens.add("viewer", roles(&[Role::Read]), None).unwrap();
        assert_eq!((text.len(), &text[..7]), (7 + 64, "engram_"));
        assert_eq!(tokens.recognise(&text), Recognised::InForce(token));
        for wrong in ["", "viewer", &text[..70], &text[7..], &format!("{text} ")] {
            assert_eq!(tokens.recognise(wrong), Recognised::Unknown);
        }
        let journal = std::fs::read(folder.path().join(JOURNAL)).unwrap();
        let kept = String::from_utf8_lossy(&journal);
        assert!(kept.contains("viewer") && !kept.contains(&text[7..]));
    }

    #[test]
    fn tokens_survive_reopening_and_a_revoked_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second, third);
        {
            let tokens = Tokens::open(folder.path()).unwrap();
            first = tokens.add("a", roles(&[Role::Admin]), None).unwrap();
            second = tokens.add("b", roles(&[Role::Read, Role::Segment]), Some(30)).unwrap();
            tokens.revoke("a").unwrap();
            assert_eq!(tokens.recognise(&first.1), Recognised::Unknown);
            assert!(any_in_force(folder.path()).unwrap());
            third = tokens.add("a", roles(&[Role::Write]), None).unwrap();
        }
        let tokens = Tokens::open(folder.path()).unwrap();
        assert_eq!(
            tokens.recognise(&first.1),
            Recognised::Unknown,
            "its name is taken again, it is not back"
        );
        assert_eq!(tokens.recognise(&second.1), Recognised::InForce(second.0.clone()));
        assert_eq!(tokens.list(), [third.0, second.0]);
        tokens.revoke("a").unwrap();
        tokens.revoke("b").unwrap();
        assert!(tokens.list().is_empty() && tokens.ever_any() && !any_in_force(folder.path()).unwrap());
    }

    #[test]
    fn an_expired_token_is_told_from_an_unknown_one_and_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(folder.path()).unwrap();
        let token = Token {
            name: "old".into(),
            roles: roles(&[Role::Read]),
            created_at: 1,
            expires_at: Some(now() - 1),
        };
        tokens.known.write().apply(Record::Added { token: token.clone(), sha256: hex::encode(hash("text")) });
        assert_eq!(tokens.recognise("text"), Recognised::Expired(token));
        assert!(matches!(tokens.add("old", roles(&[Role::Read]), None), Err(Error::NameTaken { .. })));
    }

    #[test]
    fn what_makes_no_token() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(folder.path()).unwrap();
        let add = |name: &str, with: &[Role], days| tokens.add(name, roles(with), days).unwrap_err();
        for name in ["", "a b", "a/b", "naïve", &"n".repeat(65)] {
            assert!(matches!(add(name, &[Role::Read], None), Error::BadName { .. }), "{name}");
        }
        assert!(matches!(add("a", &[], None), Error::NoRole { .. }));
        for days in [0, MAX_DAYS + 1] {
            assert!(matches!(add("a", &[Role::Read], Some(days)), Error::BadLife { .. }));
        }
        assert!(matches!(tokens.revoke("a"), Err(Error::NoSuchToken { .. })));
        assert!(!tokens.ever_any());
    }
}
