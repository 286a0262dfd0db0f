//! The certifier behind a counter: it goes and comes, misbehaves, issues by another profile, changes the standing of
//! certificates. And what the counter is configured with.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cns_virtual_authority::{Authority as Certifier, Fault, serve, serve_faulty};
use cnsd::config::{AreaPin, CounterConfig, SignatureAreaConfig};
use tokio::net::TcpListener;

use super::Rig;

impl Rig {
    /// Has the certifier suspend, reactivate and revoke, also after a restart.
    pub fn change_status(&mut self) {
        self.changes_status = true;
        self.link();
    }

    /// Lets the counter renew signature certificates (X2), also after a restart.
    pub fn allow_renewal(&mut self) {
        let counter = CounterConfig { renewal: true, ..CounterConfig::default() };
        self.configured = Some((counter, SignatureAreaConfig::default()));
        self.link();
    }

    /// Restarts the counter as one that renews no signature certificates.
    pub async fn close_renewal(&mut self) {
        self.configured = None;
        self.restart().await;
        self.card_is_back().await;
    }

    /// From the next start on the signature PIN comes from there (X1).
    pub async fn take_area_pins_from(&mut self, pin: AreaPin) {
        self.configured = Some((CounterConfig::default(), SignatureAreaConfig { pin }));
        self.restart().await;
        self.card_is_back().await;
    }

    pub(super) fn link(&self) {
        if let Some((counter, area)) = &self.configured {
            self.rooms().procedures.configure(counter.clone(), *area);
        }
        if self.changes_status {
            self.rooms().procedures.change_status_by(self.rooms().authority.clone());
        }
    }

    /// Lets the daemon ask for another profile from now on.
    pub async fn ask_for(&mut self, profile: &str) {
        let (base, _) = self.url.rsplit_once('/').unwrap();
        self.url = format!("{base}/{profile}");
        self.restart().await;
        self.card_is_back().await;
    }

    /// Stops the certifier.
    pub async fn authority_goes(&mut self) {
        self.server.abort();
        while !self.server.is_finished() {
            tokio::task::yield_now().await;
        }
    }

    /// Starts it again at its address.
    pub async fn authority_comes(&mut self) {
        let address = self.url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
        self.server = serve_certifier(bind(&address).await, &self.certifier);
    }

    /// From now on the certifier misbehaves, at another address: the daemon is restarted.
    pub async fn authority_misbehaves(&mut self, fault: Fault) {
        self.authority_goes().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (_, profile) = self.url.rsplit_once('/').unwrap();
        self.url = format!("http://{}/pkix/{profile}", listener.local_addr().unwrap());
        let served = Arc::clone(&self.certifier);
        self.server = tokio::spawn(async move {
            serve_faulty(listener, served, fault, std::future::pending()).await.unwrap();
        });
        self.restart().await;
        self.card_is_back().await;
    }
}

/// Binds an address that was free a moment ago: somebody's outgoing connection may have it for a while.
pub async fn bind(address: &str) -> TcpListener {
    let ends = Instant::now() + Duration::from_secs(60);
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < ends, "{address}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(super) fn serve_certifier(
    listener: TcpListener,
    certifier: &Arc<Certifier>,
) -> tokio::task::JoinHandle<()> {
    let served = Arc::clone(certifier);
    tokio::spawn(async move { serve(listener, served, std::future::pending()).await.unwrap() })
}
