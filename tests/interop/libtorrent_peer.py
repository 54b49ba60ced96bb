"""libtorrent in a process of its own.

argv[1]: JSON. Modes seed and leech say {"type":"up"}, begin when a line `go` comes on stdin, say {"type":"go"}, then
{"type":"done"} once everything is there, and {"type":"progress"} every 100 ms. Mode create writes a torrent and ends.
Mode items takes part in the DHT, says {"type":"go"} when it knows somebody there, and then carries out each line of stdin:
JSON with "do", "n" (which is repeated), "text", "target", "secret", "public", "salt"; bytes in hex digits. It says {"type":"item"} of each.
"""
import json, os, select, socket, sys, time
import libtorrent as lt

config = json.loads(sys.argv[1])


def say(kind, **more):
    sys.stdout.write(json.dumps(dict(type=kind, **more)) + "\n")
    sys.stdout.flush()


def files_in_byte_order(root):
    """Paths relative to the folder above root, sorted by the bytes of the path joined with `/`."""
    if os.path.isfile(root):
        return [os.path.basename(root)]
    above, found = os.path.dirname(root), []
    for folder, _, names in os.walk(root):
        found += [os.path.relpath(os.path.join(folder, name), above) for name in names]
    return sorted(found, key=os.fsencode)


def create():
    root = config["content"].rstrip("/")
    above, storage = os.path.dirname(root), lt.file_storage()
    for path in files_in_byte_order(root):
        storage.add_file(path, os.path.getsize(os.path.join(above, path)))
    storage.set_name(os.path.basename(root))
    torrent = lt.create_torrent(storage, config["piece"], lt.create_torrent.v1_only)
    if config["tracker"]:
        torrent.add_tracker(config["tracker"])
    lt.set_piece_hashes(torrent, above)
    with open(config["torrent"], "wb") as file:
        file.write(lt.bencode(torrent.generate()))


def session():
    wanted = dict(
        listen_interfaces=config["listen"], outgoing_interfaces=config["ip"],
        enable_dht=bool(config["dht"]), dht_bootstrap_nodes=",".join(config["dht"]), enable_lsd=config["lsd"], enable_upnp=False, enable_natpmp=False,
        enable_incoming_utp=config["utp"], enable_outgoing_utp=config["utp"], out_enc_policy=2, in_enc_policy=1,
        allow_multiple_connections_per_ip=True, unchoke_slots_limit=-1, announce_to_all_trackers=True,
        validate_https_trackers=False, ssrf_mitigation=False,
        alert_mask=lt.alert.category_t.status_notification | lt.alert.category_t.error_notification
        | (lt.alert.category_t.peer_log_notification if config["utp"] else 0)
        | (lt.alert.category_t.dht_notification if config["mode"] == "items" else 0),
    )
    known = lt.default_settings()
    return lt.session({key: value for key, value in wanted.items() if key in known})


def add(running):
    if config["torrent"].startswith("magnet:"):
        params = lt.parse_magnet_uri(config["torrent"])
    else:
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(config["torrent"])
    params.save_path = config["dir"]
    params.storage_mode = lt.storage_mode_t.storage_mode_sparse
    params.flags = lt.torrent_flags.update_subscribe | lt.torrent_flags.apply_ip_filter
    if config["mode"] == "seed":
        params.flags |= lt.torrent_flags.seed_mode
    handle = running.add_torrent(params)
    if not config["pex"]:
        handle.set_flags(lt.torrent_flags.disable_pex)
    if config["up"]:
        handle.set_upload_limit(config["up"])
    if config["down"]:
        handle.set_download_limit(config["down"])
    for peer in config["peers"]:
        ip, _, port = peer.rpartition(":")
        handle.connect_peer((ip.strip("[]"), int(port)))
    return handle


class Bell:
    """Rings when there are alerts. wait_for_alert hands out one that the session may move at that moment: a rare SIGSEGV."""

    def __init__(self, running):
        self.ours, self.theirs = socket.socketpair()
        running.set_alert_fd(self.theirs.fileno())

    def wait(self, also=()):
        """Until it rings, one of the others can be read (these are returned), or 100 ms have gone."""
        ready, _, _ = select.select([self.ours, *also], [], [], 0.1)
        if self.ours in ready:
            self.ours.recv(4096)
        return [other for other in also if other in ready]


def run():
    running = session()
    bell = Bell(running)
    say("up", version=lt.version)
    if sys.stdin.readline().strip() != "go":
        return
    handle, done, said, announced = add(running), False, 0.0, 0.0
    say("go")
    while True:
        # stdin closes when whoever started us is gone.
        if bell.wait([sys.stdin]) and not sys.stdin.readline():
            return
        finished = False
        for alert in running.pop_alerts():
            finished = finished or isinstance(alert, lt.torrent_finished_alert)
            if "HOLEPUNCH" in str(alert):
                say("holepunch", text=str(alert))
            if alert.category() & lt.alert.category_t.error_notification:
                sys.stderr.write("%s\n" % alert)
                sys.stderr.flush()
        now = time.monotonic()
        # By itself it comes to a torrent after a minute or later.
        if config["dht"] and now - announced >= 3 and running.status().dht_nodes > 0:
            announced = now
            handle.force_dht_announce()
        # Asking for the status costs the session time, so it is asked seldom.
        if now - said < 0.1 and not finished:
            continue
        status = handle.status()
        if not done and status.is_seeding:
            done = True
            say("done")
        if now - said >= 0.1:
            said = now
            say("progress", done=status.total_wanted_done, uploaded=status.total_payload_upload,
                downloaded=status.total_payload_download, peers=status.num_peers)


def items():
    running = session()
    bell = Bell(running)
    say("up", version=lt.version)
    # Bootstrap nodes get no place in its table, so that it is told of them as of others.
    for node in config["dht"]:
        ip, _, port = node.rpartition(":")
        running.add_dht_node((ip.strip("[]"), int(port)))
    while running.status().dht_nodes == 0:
        time.sleep(0.1)
    say("go")
    for line in sys.stdin:
        order = json.loads(line)
        public, secret, salt = (bytes.fromhex(order.get(key, "")) for key in ("public", "secret", "salt"))
        text = order.get("text", "").encode()
        if order["do"] == "put" and public:
            running.dht_put_mutable_item(secret, public, text, salt)
        elif order["do"] == "put":
            running.dht_put_immutable_item(text)
        elif public:
            running.dht_get_mutable_item(public, salt)
        else:
            running.dht_get_immutable_item(lt.sha1_hash(bytes.fromhex(order["target"])))
        say("item", n=order["n"], **answer(running, bell))


def answer(running, bell):
    """What became of the last order."""
    while True:
        bell.wait()
        for alert in running.pop_alerts():
            if isinstance(alert, lt.dht_put_alert):
                return dict(stored=alert.num_success, target=str(alert.target))
            if isinstance(alert, lt.dht_immutable_item_alert):
                return dict(text=shown(alert.item["value"]))
            # Others come before the end, of whatever was found by then.
            if isinstance(alert, lt.dht_mutable_item_alert) and alert.item["authoritative"]:
                return dict(text=shown(alert.item["value"]), seq=alert.item["seq"])


def shown(value):
    """libtorrent writes a string between quotes here, and nothing where nothing was found."""
    return value.decode().strip("'\n")


if config["mode"] == "create":
    create()
elif config["mode"] == "items":
    items()
else:
    run()
