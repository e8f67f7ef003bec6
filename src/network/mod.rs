//! Links and their proxies.
