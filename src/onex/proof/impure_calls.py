"""Which calls use a clock, chance or the world outside: a table, so that it can be read, disputed and extended.

``IMPURE[full name] -> kind``. A name that ends in ``.*`` stands for everything below that name; the longest one decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class EnumImpurity(StrEnum):
    """What a call depends on or does, besides its arguments. ``note``: it writes text on which nothing depends, such as a log.

    ``order``: it takes the members of a set one by one; ``unproven``: reading cannot follow it. These two prove nothing.
    """

    CLOCK = "clock"
    CHANCE = "chance"
    ENVIRONMENT = "environment"
    FILE = "file"
    NETWORK = "network"
    DATABASE = "database"
    PROCESS = "process"
    STATE = "shared state"
    ORDER = "order"
    NOTE = "note"
    PURE = "pure"
    UNPROVEN = "unproven"


_CLOCK, _CHANCE, _FILE = EnumImpurity.CLOCK, EnumImpurity.CHANCE, EnumImpurity.FILE
_NETWORK, _DATABASE, _PROCESS = EnumImpurity.NETWORK, EnumImpurity.DATABASE, EnumImpurity.PROCESS
_ENVIRONMENT, _NOTE, _PURE = EnumImpurity.ENVIRONMENT, EnumImpurity.NOTE, EnumImpurity.PURE
_UNPROVEN = EnumImpurity.UNPROVEN


def _all(kind: EnumImpurity, names: str, before: str = "") -> dict[str, EnumImpurity]:
    return {f"{before}{name}": kind for name in names.split()}


IMPURE: Final[Mapping[str, EnumImpurity]] = {
    # --- clocks and waiting
    **_all(
        _CLOCK,
        "time.time time.time_ns time.monotonic time.monotonic_ns time.perf_counter time.perf_counter_ns "
        "time.process_time time.process_time_ns time.thread_time time.clock_gettime time.localtime time.gmtime "
        "time.ctime time.asctime time.sleep datetime.datetime.now datetime.datetime.utcnow datetime.datetime.today "
        "datetime.date.today asyncio.sleep timeit.default_timer pendulum.now arrow.now arrow.utcnow "
        "django.utils.timezone.now pandas.Timestamp.now sched.*",
    ),
    # --- chance
    **_all(
        _CHANCE,
        "random.* secrets.* uuid.uuid1 uuid.uuid4 uuid.uuid6 uuid.uuid7 os.urandom os.getrandom numpy.random.* "
        "ulid.* nanoid.* shortuuid.* faker.* hash",
    ),
    # a generator with a seed always gives the same; one without is found where it is made (SEEDED)
    **_all(_PURE, "random.Random.* numpy.random.Generator.* numpy.random.RandomState.* secrets.compare_digest"),
    # --- environment
    **_all(
        _ENVIRONMENT,
        "os.environ os.environ.* os.environb os.getenv os.getenvb os.getpid os.getppid os.getcwd os.uname os.cpu_count "
        "os.getlogin os.getuid platform.* getpass.* socket.gethostname socket.getfqdn sys.argv sys.stdin sys.stdin.* "
        "pathlib.Path.cwd pathlib.Path.home locale.getlocale input dotenv.* uuid.getnode",
    ),
    # --- files
    **_all(
        _FILE,
        "open io.open io.FileIO os.open os.read os.write os.listdir os.scandir os.walk os.stat os.lstat os.mkdir "
        "os.makedirs os.remove os.unlink os.rename os.replace os.rmdir os.removedirs os.chmod os.link os.symlink "
        "os.readlink os.truncate os.utime os.path.exists os.path.isfile os.path.isdir os.path.getsize os.path.getmtime "
        "os.path.realpath os.path.islink shutil.* tempfile.* glob.glob glob.iglob fileinput.* mmap.* linecache.* "
        "aiofiles.* fcntl.* zipfile.ZipFile tarfile.open importlib.resources.* pandas.read_csv pandas.read_parquet "
        "numpy.load numpy.save joblib.load joblib.dump codecs.open gzip.open bz2.open lzma.open",
    ),
    **_all(
        _FILE,
        "open read_text read_bytes write_text write_bytes exists is_file is_dir is_symlink iterdir glob rglob walk "
        "mkdir touch unlink rmdir rename replace stat lstat chmod resolve symlink_to hardlink_to readlink samefile "
        "expanduser owner group",
        "pathlib.Path.",
    ),
    # --- network
    **_all(
        _NETWORK,
        "socket.* ssl.* requests.* httpx.* aiohttp.* urllib.request.* urllib3.* http.client.* smtplib.* ftplib.* "
        "imaplib.* poplib.* telnetlib.* xmlrpc.client.* websockets.* websocket.* grpc.* paramiko.* boto3.* botocore.* "
        "openai.* anthropic.* slack_sdk.* stripe.* twilio.* consul.* hvac.* docker.* kubernetes.* "
        "asyncio.open_connection asyncio.start_server google.cloud.*",
    ),
    **_all(_PURE, "httpx.Timeout httpx.Limits httpx.URL httpx.Headers httpx.QueryParams aiohttp.ClientTimeout"),
    # --- databases and brokers
    **_all(
        _DATABASE,
        "sqlite3.* asyncpg.* psycopg.* psycopg2.* psycopg_pool.* aiosqlite.* pymysql.* aiomysql.* MySQLdb.* pymongo.* "
        "motor.* redis.* aioredis.* valkey.* memcache.* kafka.* aiokafka.* confluent_kafka.* pika.* aio_pika.* nats.* "
        "elasticsearch.* qdrant_client.* neo4j.* cassandra.* sqlalchemy.create_engine sqlalchemy.orm.Session.* "
        "sqlalchemy.ext.asyncio.create_async_engine sqlalchemy.orm.sessionmaker duckdb.* supabase.* "
        "onex.connect onex.open onex.open_reader onex.open_sender onex.adapters.* onex.wiring.* onex.testing.*",
    ),
    # --- processes and threads
    **_all(
        _PROCESS,
        "subprocess.* multiprocessing.* threading.* concurrent.futures.* signal.* os.system os.popen os.fork os.kill "
        "os.execv os.execve os.spawnv os._exit asyncio.create_subprocess_exec asyncio.create_subprocess_shell "
        "asyncio.to_thread asyncio.create_task asyncio.ensure_future asyncio.run ctypes.* pty.* sys.exit atexit.*",
    ),
    # --- notes: logs, prints, metrics
    **_all(
        _NOTE,
        "print logging.* structlog.* loguru.* warnings.warn sys.stdout.write sys.stderr.write sys.stdout.flush "
        "pprint.pprint prometheus_client.* statsd.* opentelemetry.*",
    ),
    **_all(
        _PURE,
        "kafka.TopicPartition aiokafka.TopicPartition confluent_kafka.TopicPartition threading.current_thread "
        "threading.main_thread threading.local",
    ),
    # making a logger writes nothing yet
    **_all(_PURE, "logging.getLogger logging.Logger structlog.get_logger structlog.stdlib.get_logger"),
    # --- libraries that only compute
    **_all(
        _PURE,
        "pydantic.* pydantic_core.* annotated_types.* typing_extensions.* attr.* attrs.* msgspec.* orjson.* frozendict.* "
        "pyrsistent.* toolz.* cytoolz.* more_itertools.* sortedcontainers.* blake3.* xxhash.* dateutil.* semver.* "
        "packaging.* jsonschema.* networkx.* onex.*",
    ),
    # --- what cannot be read
    **_all(
        _UNPROVEN,
        "importlib.import_module __import__ exec eval compile runpy.* pickle.loads pickle.load marshal.loads "
        "importlib.util.module_from_spec",
    ),
}

SEEDED: Final = frozenset({"random.Random", "numpy.random.default_rng", "numpy.random.RandomState"})
"""Impure without arguments only: then the operating system gives the seed."""

TYPED: Final[Mapping[str, str]] = {
    "logging.getLogger": "logging.Logger",
    "structlog.get_logger": "structlog.BoundLogger",
    "numpy.random.default_rng": "numpy.random.Generator",
    "pathlib.PurePath": "pathlib.Path",
    "pathlib.PosixPath": "pathlib.Path",
}
"""``TYPED[what is called] -> class of what it returns``. A name with a capital is a class and returns an instance of itself."""

IO_METHODS: Final = frozenset({
    "read_text", "read_bytes", "write_text", "write_bytes", "utcnow", "urlopen", "sendall", "recv", "fetchrow",
    "fetchval", "executemany",
})  # fmt: skip
"""Methods whose names say I/O. Called on an object whose class is not known, they are reported as unproven."""

FIXES: Final[Mapping[EnumImpurity, str]] = {
    EnumImpurity.CLOCK: "take the time from the input (an action's time), or measure outside of the node",
    EnumImpurity.CHANCE: "take the id or the seed from the input, or derive it (uuid5, a hash of the input)",
    EnumImpurity.ENVIRONMENT: "read it once at the start and hand it in as configuration",
    EnumImpurity.FILE: "let an effect read or write the file, and take its content as input",
    EnumImpurity.NETWORK: "emit an intent and let an effect make the call",
    EnumImpurity.DATABASE: "emit an intent and let an effect ask the database",
    EnumImpurity.PROCESS: "let whoever calls the node run things; emit an intent",
    EnumImpurity.STATE: "keep it in the state that is passed in and returned",
    EnumImpurity.ORDER: "take the members by sorted(...)",
    EnumImpurity.NOTE: "leave it if nothing depends on it; return it as an intent to have it exactly once",
    EnumImpurity.UNPROVEN: "call it by its name, so that it can be read",
}


def impurity(name: str) -> EnumImpurity | None:
    """The kind of ``name``, a full dotted name; None when the table does not know it."""
    exact = IMPURE.get(name)
    if exact is not None:
        return exact
    if name.endswith(("Error", "Exception", "Warning")):
        return EnumImpurity.PURE  # making an exception of a library does nothing else
    head = name
    while "." in head:
        head = head.rpartition(".")[0]
        below = IMPURE.get(f"{head}.*")
        if below is not None:
            return below
    return None


def is_exact(name: str) -> bool:
    """Whether handing it on is impure too (``default_factory=uuid4``). Of a whole library only calls count."""
    return name in IMPURE
