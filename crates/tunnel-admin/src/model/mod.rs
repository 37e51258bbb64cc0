//! What the API says, as it stands in JSON. These types are the API's own: the engine's and the store's may change
//! without it.

mod deeds;
mod entry;
mod keeping;
mod live;
mod watched;

pub use deeds::{CloseTunnel, Kick, NamedTunnel};
pub use entry::{Credentials, SignInLink, SignInMethods, SignedIn};
pub use keeping::{
    ActorRecord, AuditEntry, AuditList, AuditPage, IssuedToken, NewToken, Reservation, ReservationList,
    RightsChanges, Rotation, Token, TokenInFull, TokenList, TokenRights, Usage, UsageList,
};
pub use live::{Session, SessionList, SettingsFault, Status, Tunnel, TunnelList, TunnelMember};
pub use watched::{Request, RequestList, Visitor, VisitorList};
