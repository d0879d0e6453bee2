//! Certificates in words that an operator can act on: whose one is, until when it holds, what members find wrong
//! with it, and why a handshake came to nothing.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{AlertDescription, CertificateError};
use x509_cert::der::{DateTime, Decode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::model::Timestamp;

/// A certificate, as an operator knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The hosts that it is for; its subject if it names none.
    pub(super) names: String,
    /// From when on it holds.
    pub(super) from: Timestamp,
    /// Until when it holds.
    pub(super) until: Timestamp,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn parse(certificate: &CertificateDer<'_>) -> Result<Certificate, String> {
        let parsed = x509_cert::Certificate::from_der(certificate).map_err(|error| error.to_string())?;
        let body = &parsed.tbs_certificate;
        let hosts = body.get::<SubjectAltName>().ok().flatten().map(|(_, names)| names.0).unwrap_or_default();
        let hosts: Vec<String> = hosts.iter().filter_map(host).collect();
        let names = if hosts.is_empty() { body.subject.to_string() } else { hosts.join(", ") };
        let (from, until) = (body.validity.not_before, body.validity.not_after);
        Ok(Certificate {
            names,
            from: moment(from.to_unix_duration()),
            until: moment(until.to_unix_duration()),
        })
    }
}

fn host(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let four = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

fn moment(since_epoch: Duration) -> Timestamp {
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// A time of day as it is written in certificates: `2026-11-30T22:00:00Z`.
pub(super) fn date(at: Timestamp) -> String {
    let date = DateTime::from_unix_duration(Duration::from_secs(at.0 / 1_000));
    date.map_or_else(|_| format!("{} ms after 1970", at.0), |date| date.to_string())
}

fn date_of(time: UnixTime) -> String {
    date(moment(Duration::from_secs(time.as_secs())))
}

/// A handshake that came to nothing. Its text is for operators.
#[derive(Debug)]
pub(super) struct Handshake(pub(super) io::Error);

impl fmt::Display for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match handshake_failure(&self.0) {
            Some(words) => f.write_str(&words),
            None if self.0.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("it ended the connection instead of a TLS handshake")
            }
            None => write!(f, "no TLS handshake: {}", self.0),
        }
    }
}

impl Error for Handshake {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// Why a connection by TLS did not come about, in words about the other side: `its certificate expired on ..`. `None` if nothing
/// behind the error is about TLS.
pub(crate) fn handshake_failure(error: &(dyn Error + 'static)) -> Option<String> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(words(error));
        }
        // An error of the system that holds another says the source of that one as its own.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        at = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(wrong) => format!("its certificate {}", wrong_with(wrong)),
        rustls::Error::NoCertificatesPresented => "it shows no certificate".into(),
        rustls::Error::InvalidMessage(_) => "it does not speak TLS".into(),
        rustls::Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateExpired => {
                "it finds this node's certificate expired, or not valid yet".into()
            }
            AlertDescription::UnknownCA => {
                "it does not trust the authority of this node's certificate".into()
            }
            AlertDescription::CertificateRequired => "it asks for a certificate and got none".into(),
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied => "it refuses this node's certificate".into(),
            AlertDescription::ProtocolVersion => "it speaks another version of TLS".into(),
            other => format!("it ends the TLS handshake with {other:?}"),
        },
        other => format!("no TLS handshake: {other}"),
    }
}

/// The fault of a certificate, as the end of a sentence about it.
pub(super) fn wrong_with(error: &CertificateError) -> String {
    match error {
        CertificateError::ExpiredContext { not_after, .. } => format!("expired on {}", date_of(*not_after)),
        CertificateError::Expired => "expired".into(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}", date_of(*not_before))
        }
        CertificateError::NotValidYet => "is not valid yet".into(),
        // An authority that was made anew under its old name signs with another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "comes from no authority of peer.tls_ca_file".into()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("is for {}, and not for {}", presented.join(", "), expected.to_str())
        }
        CertificateError::NotValidForName => "is not for the host of its address".into(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not meant for servers and clients alike".into()
        }
        other => format!("does not verify: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the reason is found behind whatever is wrapped around it, and says what an operator has to change.
    #[test]
    fn a_failed_handshake_is_told_in_words() {
        let not_after = UnixTime::since_unix_epoch(Duration::from_secs(1_700_000_000));
        let expired = CertificateError::ExpiredContext { time: not_after, not_after };
        for (error, told) in [
            (rustls::Error::InvalidCertificate(expired), "its certificate expired on 2023-11-14T22:13:20Z"),
            (
                rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer),
                "its certificate comes from no authority of peer.tls_ca_file",
            ),
            (
                rustls::Error::AlertReceived(AlertDescription::UnknownCA),
                "it does not trust the authority of this node's certificate",
            ),
        ] {
            let wrapped = Handshake(io::Error::new(io::ErrorKind::InvalidData, error));
            assert_eq!(wrapped.to_string(), told);
            let twice = io::Error::other(wrapped);
            assert_eq!(handshake_failure(&twice).as_deref(), Some(told));
        }
        assert_eq!(handshake_failure(&io::Error::from(io::ErrorKind::ConnectionRefused)), None);
    }
}
