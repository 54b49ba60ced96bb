//! Ports by PCP, or by NAT-PMP where the router says that it knows no better.
//!
//! The library's sockets hear the router's address and port only, answers are of fixed size, and those of PCP must
//! bring back a random number.

use super::route::Route;
use super::{LEASE, Language, Mapped, Ports};
use crab_nat::{
    InternetProtocol, MappingFailure, PortMapping, PortMappingOptions, PortMappingType,
    TimeoutConfig, natpmp,
};
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::time::Duration;

/// A router on the wire answers in milliseconds: after three questions and less than two seconds it is silent.
const PATIENCE: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 2,
    max_retry_timeout: None,
};

/// What the router has granted.
#[derive(Default)]
pub(super) struct Pcp {
    tcp: Option<PortMapping>,
    udp: Option<PortMapping>,
    external: Option<IpAddr>,
}

impl Pcp {
    /// Asks for both ports, the same outside if they are free. The shorter lease, if it grants any.
    pub(super) async fn map(
        &mut self,
        route: Route,
        ports: &Ports,
    ) -> Result<Duration, MappingFailure> {
        let (tcp, udp) = (&mut self.tcp, &mut self.udp);
        let (tcp, udp) = tokio::join!(
            grant(route, InternetProtocol::Tcp, ports.tcp, tcp),
            grant(route, InternetProtocol::Udp, ports.udp, udp),
        );
        // One of them is better than none.
        if self.granted().next().is_none() {
            tcp?;
            udp?;
        }
        let kind = self.granted().next().map(PortMapping::mapping_type);
        self.external = match kind {
            Some(PortMappingType::Pcp { external_ip, .. }) => Some(external_ip),
            Some(PortMappingType::NatPmp) => {
                natpmp::external_address(route.router.into(), Some(PATIENCE))
                    .await
                    .ok()
                    .map(IpAddr::V4)
            }
            None => None,
        };
        Ok(self.lease())
    }

    /// Asks to keep what there is.
    pub(super) async fn renew(&mut self) -> Result<Duration, MappingFailure> {
        for mapping in [&mut self.tcp, &mut self.udp].into_iter().flatten() {
            mapping.renew().await?;
        }
        Ok(self.lease())
    }

    pub(super) async fn give_back(self) {
        let drop = async |mapping: Option<PortMapping>| {
            let Some(mapping) = mapping else { return };
            if let Err((error, _)) = mapping.try_drop().await {
                tracing::debug!(%error, "a port was not given back");
            }
        };
        tokio::join!(drop(self.tcp), drop(self.udp));
    }

    pub(super) fn router(&self) -> Option<Ipv4Addr> {
        match self.granted().next()?.gateway().into() {
            IpAddr::V4(router) => Some(router),
            IpAddr::V6(_) => None,
        }
    }

    pub(super) fn mapped(&self) -> Option<Mapped> {
        let by = match self.granted().next()?.mapping_type() {
            PortMappingType::NatPmp => Language::NatPmp,
            PortMappingType::Pcp { .. } => Language::Pcp,
        };
        let port = |mapping: &Option<PortMapping>| mapping.as_ref().map(PortMapping::external_port);
        Some(Mapped {
            by,
            router: self.router()?.into(),
            external: self.external.map(|ip| ip.to_canonical()),
            tcp: port(&self.tcp),
            udp: port(&self.udp),
        })
    }

    fn granted(&self) -> impl Iterator<Item = &PortMapping> {
        [&self.tcp, &self.udp].into_iter().flatten()
    }

    fn lease(&self) -> Duration {
        let shortest = self.granted().map(PortMapping::lifetime).min();
        Duration::from_secs(shortest.unwrap_or_default().into())
    }
}

async fn grant(
    route: Route,
    protocol: InternetProtocol,
    port: Option<NonZeroU16>,
    granted: &mut Option<PortMapping>,
) -> Result<(), MappingFailure> {
    let Some(port) = port else { return Ok(()) };
    let options = PortMappingOptions {
        external_port: Some(port),
        lifetime_seconds: Some(LEASE.as_secs() as u32),
        timeout_config: Some(PATIENCE),
    };
    let (router, us) = (route.router.into(), route.us.into());
    *granted = Some(PortMapping::new(router, us, protocol, port, options).await?);
    Ok(())
}
