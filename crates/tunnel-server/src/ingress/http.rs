//! Web visitors (being written).

use tunnel_transport::Listener;

use crate::shared::Shared;

pub(crate) async fn serve(_shared: Shared, listener: Listener) {
    loop {
        let _ = listener.accept().await;
    }
}
