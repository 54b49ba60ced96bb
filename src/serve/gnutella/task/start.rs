//! A servent comes up: what it knows, what it listens on, whom it meets first.

use super::*;

pub(in super::super) fn start(
    mut config: Config,
    library: Option<share::Library>,
    clock: Clock,
) -> Result<Gnutella, Error> {
    let failed = |error: io::Error| Error::Listen(config.listen, error.kind());
    let listener = listen::bind(config.listen).map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let addr = SocketAddrV4::new(*config.listen.ip(), port);
    let mut rng = os_rng().map_err(|error| Error::NoDice(error.kind()))?;
    let now = clock.now();
    let mut seed = [0; 32];
    rng.fill(&mut seed);
    let opened = config.state_dir.as_deref().map(Saved::open);
    let (saved, memory) = opened.unwrap_or_default();
    let role = match config.role {
        Role::Auto | Role::Leaf => overlay::Role::Leaf,
        Role::Ultrapeer => overlay::Role::Ultrapeer,
    };
    let machine = overlay::Config {
        fixed: config.role != Role::Auto,
        firewalled: config.firewalled,
        peer_port: config.peer_port,
        deflate: config.deflate,
        user_agent: USER_AGENT.into(),
        ..overlay::Config::of(role, addr)
    };
    let files = library.as_ref().map(share::Library::catalogue).unwrap_or_default();
    let files = overlay::Library::new(files);
    let mut servent = Servent::new(now, machine, memory.guid, files, Rng::from_entropy(seed));
    memory.hosts.iter().rev().for_each(|&addr| servent.add_host(addr));
    let bind = (!addr.ip().is_unspecified()).then_some(IpAddr::V4(*addr.ip()));
    config.uploads.bind = config.uploads.bind.or(bind);
    let watching = library.as_ref().map(share::Library::watch);
    let uploads = library.map(|library| Uploads::new(config.uploads.clone(), library, clock));
    let (commands, queue) = mpsc::channel(COMMANDS_MAX);
    let (news, incoming) = mpsc::channel(NEWS_MAX);
    let gate = Gate::new(config.strangers_each, config.loopback_too);
    let mut background = JoinSet::new();
    let (head_timeout, lan) = (config.head_timeout, config.lan);
    let host = Host { uploads: uploads.clone(), head_timeout, lan };
    background.spawn(listen::run(listener, host, gate, news.clone()));
    let (status, shown) =
        watch::channel(status_of(&servent, &BTreeMap::new(), 0, uploads.as_ref()));
    let mut task = Task {
        clock,
        role: config.role,
        promote_after: config.promote_after,
        bind,
        walled: config.firewalled,
        lan,
        servent,
        rng,
        lines: BTreeMap::new(),
        links: JoinSet::new(),
        tasks: JoinSet::new(),
        news,
        given: Vec::new(),
        caches: config.caches.into_iter().map(|cache| (cache, None)).collect(),
        searches: Searches::default(),
        pushes: Pushes::default(),
        gives: Gives::default(),
        uploads,
        saved: saved.map(Arc::new),
        save_at: now + SAVE_FIRST,
        saving: None,
        good: Vec::new(),
        locals: BTreeSet::new(),
        called: config.reachable,
        fit_since: None,
        status,
    };
    task.meet(now, config.connect);
    background.spawn(task.run(queue, incoming, watching));
    Ok(Gnutella { addr, commands, status: shown, _background: Arc::new(background) })
}
