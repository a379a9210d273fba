//! Command line flags and environment, parsed once into a [`Config`] that the rest need not check again.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use thiserror::Error;
use turnpike_compiler::approval::LEAST_KEPT;
use uuid::Uuid;

/// Flags of `turnpike-operator`.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "turnpike-operator",
    version,
    about = "Turns AgentPolicies into what Turnpike's proxies enforce"
)]
pub struct Args {
    /// Turnpike's own namespace: bundles, replica Leases and the leader's Lease live there.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,
    /// Name of this replica in the leader's Lease and in Events. Default: the host's name and a random part.
    #[arg(long, env = "POD_NAME")]
    pub identity: Option<String>,
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, env = "TURNPIKE_ADMIN_LISTEN", default_value = "0.0.0.0:9090")]
    pub admin_listen: SocketAddr,
    /// Name of the Lease by which replicas elect a leader.
    #[arg(long, env = "TURNPIKE_LEASE_NAME", default_value = "turnpike-operator")]
    pub lease_name: String,
    /// Name of the ValidatingAdmissionPolicy on approval requests, and of its binding.
    #[arg(long, env = "TURNPIKE_GUARD_NAME", default_value = "turnpike-approvals")]
    pub guard_name: String,
    /// A leader that has not renewed its Lease for this long may be replaced.
    #[arg(long, env = "TURNPIKE_LEASE_DURATION", default_value = "15s", value_parser = duration)]
    pub lease_duration: Duration,
    /// A leader that could not renew its Lease for this long stops.
    #[arg(long, env = "TURNPIKE_RENEW_DEADLINE", default_value = "10s", value_parser = duration)]
    pub renew_deadline: Duration,
    /// Time between two tries to take or renew the Lease.
    #[arg(long, env = "TURNPIKE_RETRY_PERIOD", default_value = "2s", value_parser = duration)]
    pub retry_period: Duration,
    /// Approval requests that are decided for good are removed this long after their last change. At least 1h: the
    /// audit log has to hold by then what became of them.
    #[arg(long, env = "TURNPIKE_REQUEST_RETENTION", default_value = "168h", value_parser = duration)]
    pub request_retention: Duration,
    /// Workers for namespaces, and as many for approval requests.
    #[arg(long, env = "TURNPIKE_WORKERS", default_value_t = 4)]
    pub workers: u8,
    /// Log filter, as in `info,turnpike_operator=debug`.
    #[arg(long, env = "TURNPIKE_LOG", default_value = "info")]
    pub log: String,
}

/// What the operator runs with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Turnpike's own namespace.
    pub namespace: String,
    /// Name of this replica.
    pub identity: String,
    /// Address of the admin server.
    pub admin_listen: SocketAddr,
    /// Name of the leader's Lease.
    pub lease_name: String,
    /// Name of the admission policy on approval requests, and of its binding.
    pub guard_name: String,
    /// When the Lease is renewed, given up and taken over.
    pub timings: LeaseTimings,
    /// How long approval requests are kept that are decided for good.
    pub request_retention: Duration,
    /// Workers a queue, at least one.
    pub workers: u8,
}

/// Times of leader election; `retry < renew_deadline < duration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTimings {
    /// Others may take the Lease when it has stood unchanged for this long. Whole seconds, as the Lease says it.
    pub duration: Duration,
    /// The leader stops when it could not renew for this long.
    pub renew_deadline: Duration,
    /// Time between two tries.
    pub retry: Duration,
}

/// Flags that contradict each other.
#[derive(Debug, Error)]
pub enum InvalidConfig {
    /// Times of leader election out of order.
    #[error(
        "lease times must satisfy retry period ({retry:?}) < renew deadline ({renew:?}) < lease duration ({lease:?})"
    )]
    LeaseTimes {
        /// `--retry-period`
        retry: Duration,
        /// `--renew-deadline`
        renew: Duration,
        /// `--lease-duration`
        lease: Duration,
    },
    /// The Lease counts in seconds.
    #[error("the lease duration must be whole seconds, at least one, not {0:?}")]
    LeaseSeconds(Duration),
    /// Requests would go before the audit log has them.
    #[error("the request retention must be at least {LEAST_KEPT:?}, not {0:?}")]
    Retention(Duration),
    /// Nobody would work.
    #[error("there must be at least one worker")]
    NoWorkers,
}

impl Args {
    /// Checks the flags and fills in what was left out.
    pub fn into_config(self) -> Result<Config, InvalidConfig> {
        let timings = LeaseTimings {
            duration: self.lease_duration,
            renew_deadline: self.renew_deadline,
            retry: self.retry_period,
        };
        if timings.duration.subsec_nanos() != 0 || timings.duration.is_zero() {
            return Err(InvalidConfig::LeaseSeconds(timings.duration));
        }
        if timings.retry.is_zero()
            || timings.retry >= timings.renew_deadline
            || timings.renew_deadline >= timings.duration
        {
            return Err(InvalidConfig::LeaseTimes {
                retry: timings.retry,
                renew: timings.renew_deadline,
                lease: timings.duration,
            });
        }
        if self.request_retention < LEAST_KEPT {
            return Err(InvalidConfig::Retention(self.request_retention));
        }
        if self.workers == 0 {
            return Err(InvalidConfig::NoWorkers);
        }
        Ok(Config {
            namespace: self.namespace,
            // Two processes that share a name would both believe that they hold the Lease, so a name
            // that nobody chose is made unique.
            identity: self
                .identity
                .unwrap_or_else(|| format!("turnpike-operator_{}", Uuid::new_v4())),
            admin_listen: self.admin_listen,
            lease_name: self.lease_name,
            guard_name: self.guard_name,
            timings,
            request_retention: self.request_retention,
            workers: self.workers,
        })
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let signed: jiff::SignedDuration = text
        .parse()
        .map_err(|e| format!("not a duration such as 15s or 500ms: {e}"))?;
    Duration::try_from(signed).map_err(|_| "a duration cannot be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<LeaseTimings, String> {
        Args::try_parse_from(["turnpike-operator", "--namespace=turnpike"].iter().chain(flags))
            .map_err(|e| e.kind().to_string())?
            .into_config()
            .map(|c| c.timings)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn lease_times_are_ordered() {
        let secs = Duration::from_secs;
        assert_eq!(
            parse(&[]),
            Ok(LeaseTimings {
                duration: secs(15),
                renew_deadline: secs(10),
                retry: secs(2)
            })
        );
        assert_eq!(
            parse(&[
                "--lease-duration=3s",
                "--renew-deadline=2s",
                "--retry-period=500ms"
            ]),
            Ok(LeaseTimings {
                duration: secs(3),
                renew_deadline: secs(2),
                retry: Duration::from_millis(500)
            })
        );
        assert_eq!(
            parse(&["--renew-deadline=15s"]),
            Err(
                "lease times must satisfy retry period (2s) < renew deadline (15s) < lease duration (15s)"
                    .to_owned()
            )
        );
        assert_eq!(
            parse(&["--lease-duration=10500ms"]),
            Err("the lease duration must be whole seconds, at least one, not 10.5s".to_owned())
        );
        assert_eq!(
            parse(&["--workers=0"]),
            Err("there must be at least one worker".to_owned())
        );
        assert_eq!(
            parse(&["--request-retention=59m"]),
            Err("the request retention must be at least 3600s, not 3540s".to_owned())
        );
        assert!(parse(&["--retry-period=-1s"]).is_err());
    }
}
