//! What systems outside and holders are served with, beside the counter: put together from the configuration.

use std::sync::Arc;

use crate::audit::Audit;
use crate::authority::NetworkHelper;
use crate::authority::helper::NetworkError;
use crate::authority::status::{OpenError, StatusService};
use crate::config::Config;
use crate::custody::Custody;
use crate::database::Database;
use crate::holder::Holders;
use crate::national::National;
use crate::national::connector::{Connector, HttpConnector};
use crate::national::mail::{self, MailError, is_address};
use crate::operator::TrustError;
use crate::order::{OrderError, Orders};
use crate::procedure::Procedures;
use crate::procedure::status::StatusSource;
use crate::puk::PukDelivery;
use crate::reader::Readers;

/// Why it cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// Sealed orders.
    #[error("[orders]: {0}")]
    Orders(#[from] OrderError),
    /// The national system.
    #[error("[national]: {0}")]
    National(#[from] NetworkError),
    /// The mail.
    #[error("[mail]: {0}")]
    Mail(#[from] MailError),
    /// PUKs for their holders.
    #[error("[puk_delivery]: {0}")]
    PukDelivery(#[source] TrustError),
    /// How certificates stand.
    #[error("[status]: {0}")]
    Status(#[from] OpenError),
}

/// The rooms for systems outside.
pub struct Outside {
    /// Sealed orders; nothing where no CMS system is configured.
    pub orders: Option<Orders>,
    /// Holders, by their user codes.
    pub holders: Holders,
    /// Other regions; nothing where no national system is configured.
    pub national: Option<National>,
    /// PUKs for their holders; nothing where it is not configured.
    pub puk_delivery: Option<PukDelivery>,
    /// How certificates stand with their authority; nothing where no source is configured.
    pub status: Option<Arc<StatusService>>,
}

impl Outside {
    /// Opens what the configuration has.
    ///
    /// # Errors
    /// When a file or key of it cannot be used.
    pub async fn open(
        config: &Config,
        database: &Database,
        (custody, readers, audit): (&Custody, &Readers, &Audit),
        procedures: &Procedures,
    ) -> Result<Self, OutsideError> {
        let orders = match &config.orders {
            Some(orders) => Some(Orders::open(orders, database, custody, readers, audit, procedures).await?),
            None => None,
        };
        let puk_delivery = match &config.puk_delivery {
            Some(config) => Some(PukDelivery::open(config, custody).map_err(OutsideError::PukDelivery)?),
            None => None,
        };
        let national = national(config, database, custody, audit)?;
        let status = StatusService::configured(config, database)?.map(Arc::new);
        if let Some(status) = &status {
            let source: Arc<dyn StatusSource> = Arc::<StatusService>::clone(status);
            procedures.ask_status_of(source);
        }
        if let Some(national) = national.as_ref().filter(|national| national.sends()) {
            procedures.send_requests_by(national.clone());
        }
        Ok(Self {
            orders,
            national,
            puk_delivery,
            status,
            holders: Holders::open(database, custody, &config.user_codes),
        })
    }
}

fn national(
    config: &Config,
    database: &Database,
    custody: &Custody,
    audit: &Audit,
) -> Result<Option<National>, OutsideError> {
    let Some(national) = &config.national else { return Ok(None) };
    let connector: Option<Box<dyn Connector>> = match &national.url {
        Some(url) => {
            let network = NetworkHelper::default().with_route(&config.network)?;
            Some(Box::new(HttpConnector::new(url, network)?))
        }
        None => None,
    };
    let mail = match &config.mail {
        Some(config) if is_address(&config.from) => Some((mail::connector(config)?, config.from.clone())),
        Some(_) => return Err(MailError::Configuration.into()),
        None => None,
    };
    Ok(Some(National::open(database, custody, audit, connector, mail)))
}
