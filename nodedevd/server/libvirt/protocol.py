"""libvirt's remote protocol, without I/O: packets, errors, and the procedures of node devices.

A packet is a length, six words, and a payload in XDR, all big-endian. Numbers and layouts are
those of libvirt's remote_protocol.x, virnetprotocol.x and virkeepaliveprotocol.x, to which libvirt
only ever adds. Input is hostile until it is decoded into arguments; the decoder keeps at most one
packet below its limit and what was fed last.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Generic, NamedTuple, TypeVar

from nodedevd.server.libvirt import xdr
from nodedevd.server.libvirt.xdr import (
    INT,
    UNSIGNED_HYPER,
    UNSIGNED_INT,
    VOID,
    Array,
    Case,
    Option,
    String,
)

REMOTE: Final = 0x20008086
KEEPALIVE: Final = 0x6B656570
VERSION: Final = 1
"""of both programs"""
PING: Final = 1
PONG: Final = 2

PACKET_LIMIT_BYTES: Final = 256 * 1024
"""limit on a client's packets, far above any call that is supported"""
PACKET_MAX_BYTES: Final = 4 + 32 * 1024 * 1024
"""libvirt's own limit, VIR_NET_MESSAGE_MAX and the length; a greater length is invalid"""
STRING_MAX_BYTES: Final = 4 * 1024 * 1024
"""REMOTE_STRING_MAX; longer XML cannot be sent"""
NAMES_MAX: Final = 65_536
"""REMOTE_NODE_DEVICE_NAME_LIST_MAX and …_CAPS_LIST_MAX: names in one list"""
_LIST_MAX: Final = 20  # REMOTE_AUTH_TYPE_LIST_MAX, REMOTE_CONNECT_IDENTITY_PARAMS_MAX

_HEADER: Final = struct.Struct(">IIIiiIi")
_WORDS: Final = struct.Struct(">IIiiIi")
"""a header without the length in front"""


class MessageType(IntEnum):
    """virNetMessageType, without streams and descriptors."""

    CALL = 0
    REPLY = 1
    MESSAGE = 2


class ErrorCode(IntEnum):
    """virErrorNumber, the values used here."""

    INTERNAL_ERROR = 1
    NO_SUPPORT = 3
    INVALID_ARG = 8
    XML_ERROR = 27
    OPERATION_DENIED = 29
    PARSE_FAILED = 32
    XML_DETAIL = 35
    RPC = 39
    AUTH_FAILED = 45
    NO_NODE_DEVICE = 53
    OPERATION_INVALID = 55
    CONFIG_UNSUPPORTED = 67
    OPERATION_UNSUPPORTED = 84
    ACCESS_DENIED = 88
    XML_INVALID_SCHEMA = 92


class ErrorDomain(IntEnum):
    """virErrorDomain: the part of libvirt that an error comes from."""

    NONE = 0
    XML = 5
    RPC = 7
    DOMAIN = 20
    """also for connections"""
    NODEDEV = 22


class RpcError(Exception):
    """An error of a reply; clients show the message to people as it is."""

    def __init__(
        self, code: ErrorCode, domain: ErrorDomain, message: str, function: str | None = None
    ) -> None:
        """Prepare; `function` is libvirt's that has refused an argument."""
        super().__init__(code, domain, message)
        self.code = code
        self.domain = domain
        self.message = message
        self.function = function

    def __str__(self) -> str:
        return self.message


class Header(NamedTuple):
    """The six words after the length; from a client, `type` and `status` may be any number."""

    program: int
    version: int
    procedure: int
    type: int
    serial: int
    status: int


class Packet(NamedTuple):
    """A packet; the payload is None if it exceeded the limit and was dropped."""

    header: Header
    payload: bytes | None


class BadLength(Exception):
    """No packet has such a length, so the start of the next one is unknown."""

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def __str__(self) -> str:
        if self.length >> 24 == ord("{"):
            return "a JSON object; clients of Varlink have a socket of their own"
        return f"a packet of {self.length} bytes"


class PacketDecoder:
    """Cuts a byte stream into packets; `limit` is the largest size in bytes.

    Call `next` until it returns None before the next `feed`: then the buffer never holds more
    than `limit` bytes and the bytes of one `feed`.
    """

    def __init__(self, limit: int = PACKET_LIMIT_BYTES) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._start = 0  # of the next packet
        self._dropping = 0  # bytes of a packet over the limit that are still to come

    @property
    def buffered(self) -> int:
        """The number of bytes that are not part of a returned packet yet."""
        return len(self._buffer) - self._start

    def feed(self, data: bytes) -> None:
        """Add bytes that arrived."""
        if self._dropping:
            dropped = min(self._dropping, len(data))
            self._dropping -= dropped
            data = data[dropped:]
        # Deleting the front of a bytearray takes amortized constant time.
        del self._buffer[: self._start]
        self._start = 0
        self._buffer += data

    def drop(self) -> Header | None:
        """Drop the packet of which a part has arrived, and its rest as it arrives.

        Returns its header; None, and drops nothing, as long as that is not complete.
        """
        start, buffered = self._start, self.buffered
        if buffered < _HEADER.size:
            return None
        length = int.from_bytes(self._buffer[start : start + 4], "big")
        self._start += buffered
        self._dropping = length - buffered
        return Header._make(_WORDS.unpack_from(self._buffer, start + 4))

    def next(self) -> Packet | None:
        """Return the next packet, or None if more bytes are needed. Raises BadLength."""
        start, buffered = self._start, self.buffered
        if buffered < 4:
            # An idle client does not keep its last packet.
            del self._buffer[:start]
            self._start = 0
            return None
        length = int.from_bytes(self._buffer[start : start + 4], "big")
        if not _HEADER.size <= length <= PACKET_MAX_BYTES:
            raise BadLength(length)
        if buffered < (_HEADER.size if length > self._limit else length):
            return None
        header = Header._make(_WORDS.unpack_from(self._buffer, start + 4))
        if length > self._limit:
            taken = min(length, buffered)
            self._start += taken
            self._dropping = length - taken
            return Packet(header, None)
        self._start = start + length
        return Packet(header, bytes(self._buffer[start + _HEADER.size : self._start]))


def encode_packet(header: Header, payload: bytes = b"") -> bytes:
    """Return a packet."""
    return _HEADER.pack(_HEADER.size + len(payload), *header) + payload


def encode_reply(call: Header, payload: bytes, *, status: int = 0) -> bytes:
    """Return the reply to a call; `status` is 1 for an error."""
    words = (call.program, call.version, call.procedure, MessageType.REPLY, call.serial, status)
    return _HEADER.pack(_HEADER.size + len(payload), *words) + payload


class _Error(NamedTuple):
    """remote_error; the fields without a value are null, as libvirt's clients expect."""

    code: int
    domain: int
    message: str | None
    level: int = 2  # VIR_ERR_ERROR
    dom: None = None
    str1: str | None = None
    str2: str | None = None
    str3: str | None = None
    int1: int = -1
    int2: int = -1
    net: None = None


STRING: Final = String(STRING_MAX_BYTES)
_OPTIONAL_STRING: Final = Option(STRING)
_NULL: Final = Option(VOID)
_ERROR: Final = xdr.Structure(
    _Error,
    *(INT, INT, _OPTIONAL_STRING, INT, _NULL),
    *(_OPTIONAL_STRING, _OPTIONAL_STRING, _OPTIONAL_STRING, INT, INT, _NULL),
)


def encode_error(call: Header, error: RpcError) -> bytes:
    """Return the reply to a call that failed."""
    fields = _Error(error.code, error.domain, error.message, str1=error.function)
    payload = xdr.encode(_ERROR, fields)
    return encode_reply(call, payload, status=1)


def encode_keepalive(procedure: int) -> bytes:
    """Return a PING or a PONG."""
    return encode_packet(Header(KEEPALIVE, VERSION, procedure, MessageType.MESSAGE, 0, 0))


A = TypeVar("A")
R = TypeVar("R")


@dataclass(frozen=True)
class Procedure(Generic[A, R]):
    """A procedure of the program REMOTE: number, name, types of its arguments and result."""

    number: int
    name: str
    arguments: xdr.Type[A]
    result: xdr.Type[R]


class Open(NamedTuple):
    """remote_connect_open_args; `name` is a URI, flag 1 is VIR_CONNECT_RO."""

    name: str | None
    flags: int


class CapAndFlags(NamedTuple):
    """remote_node_num_of_devices_args; None for `cap` means any."""

    cap: str | None
    flags: int


class SelectedNames(NamedTuple):
    """remote_node_list_devices_args."""

    cap: str | None
    maxnames: int
    flags: int


class NameAndFlags(NamedTuple):
    """remote_node_device_get_xml_desc_args."""

    name: str
    flags: int


class XmlAndFlags(NamedTuple):
    """remote_node_device_create_xml_args, remote_node_device_define_xml_args."""

    xml: str
    flags: int


class NewXml(NamedTuple):
    """remote_node_device_update_args."""

    name: str
    xml: str
    flags: int


class Autostart(NamedTuple):
    """remote_node_device_set_autostart_args; any number but 0 is on."""

    name: str
    autostart: int


class NameAndMaximum(NamedTuple):
    """remote_node_device_list_caps_args."""

    name: str
    maxnames: int


class ListAll(NamedTuple):
    """remote_connect_list_all_node_devices_args; 0 for `need_results` requests only the count."""

    need_results: int
    flags: int


class Listed(NamedTuple):
    """remote_connect_list_all_node_devices_ret."""

    devices: Sequence[str]
    ret: int


class WorldWideNames(NamedTuple):
    """remote_node_device_lookup_scsi_host_by_wwn_args."""

    wwnn: str
    wwpn: str
    flags: int


class Registration(NamedTuple):
    """remote_connect_node_device_event_register_any_args; None for `device` means all."""

    event_id: int
    device: str | None


class TypedParameter(NamedTuple):
    """remote_typed_param."""

    field: str
    value: Case


class Identity(NamedTuple):
    """remote_connect_set_identity_args."""

    parameters: Sequence[TypedParameter]
    flags: int


class LifecycleMessage(NamedTuple):
    """remote_node_device_event_lifecycle_msg."""

    callback_id: int
    device: str
    event: int
    detail: int


class UpdateMessage(NamedTuple):
    """remote_node_device_event_update_msg."""

    callback_id: int
    device: str


_NAMES: Final = Array(STRING, NAMES_MAX)
_PARAMETER: Final = xdr.Structure(
    TypedParameter,
    STRING,
    # VIR_TYPED_PARAM_INT and so on
    xdr.Union(
        {
            1: INT,
            2: UNSIGNED_INT,
            3: xdr.HYPER,
            4: UNSIGNED_HYPER,
            5: xdr.DOUBLE,
            6: INT,
            7: STRING,
        }
    ),
)

# A device argument is a name: remote_nonnull_node_device has no other field.
OPEN: Final = Procedure(
    1, "CONNECT_OPEN", xdr.Structure(Open, _OPTIONAL_STRING, UNSIGNED_INT), VOID
)
CLOSE: Final = Procedure(2, "CONNECT_CLOSE", VOID, VOID)
GET_TYPE: Final = Procedure(3, "CONNECT_GET_TYPE", VOID, STRING)
GET_VERSION: Final = Procedure(4, "CONNECT_GET_VERSION", VOID, UNSIGNED_HYPER)
GET_HOSTNAME: Final = Procedure(59, "CONNECT_GET_HOSTNAME", VOID, STRING)
SUPPORTS_FEATURE: Final = Procedure(60, "CONNECT_SUPPORTS_FEATURE", INT, INT)
AUTH_LIST: Final = Procedure(66, "AUTH_LIST", VOID, Array(INT, _LIST_MAX))
GET_URI: Final = Procedure(110, "CONNECT_GET_URI", VOID, STRING)
NUM_OF_DEVICES: Final = Procedure(
    111, "NODE_NUM_OF_DEVICES", xdr.Structure(CapAndFlags, _OPTIONAL_STRING, UNSIGNED_INT), INT
)
LIST_DEVICES: Final = Procedure(
    112,
    "NODE_LIST_DEVICES",
    xdr.Structure(SelectedNames, _OPTIONAL_STRING, INT, UNSIGNED_INT),
    _NAMES,
)
LOOKUP_BY_NAME: Final = Procedure(113, "NODE_DEVICE_LOOKUP_BY_NAME", STRING, STRING)
GET_XML_DESC: Final = Procedure(
    114,
    "NODE_DEVICE_GET_XML_DESC",
    xdr.Structure(NameAndFlags, STRING, UNSIGNED_INT),
    STRING,
)
GET_PARENT: Final = Procedure(115, "NODE_DEVICE_GET_PARENT", STRING, _OPTIONAL_STRING)
NUM_OF_CAPS: Final = Procedure(116, "NODE_DEVICE_NUM_OF_CAPS", STRING, INT)
LIST_CAPS: Final = Procedure(
    117, "NODE_DEVICE_LIST_CAPS", xdr.Structure(NameAndMaximum, STRING, INT), _NAMES
)
CREATE_XML: Final = Procedure(
    123,
    "NODE_DEVICE_CREATE_XML",
    xdr.Structure(XmlAndFlags, STRING, UNSIGNED_INT),
    STRING,
)
DESTROY: Final = Procedure(124, "NODE_DEVICE_DESTROY", STRING, VOID)
IS_SECURE: Final = Procedure(149, "CONNECT_IS_SECURE", VOID, INT)
GET_LIB_VERSION: Final = Procedure(157, "CONNECT_GET_LIB_VERSION", VOID, UNSIGNED_HYPER)
LIST_ALL: Final = Procedure(
    285,
    "CONNECT_LIST_ALL_NODE_DEVICES",
    xdr.Structure(ListAll, INT, UNSIGNED_INT),
    xdr.Structure(Listed, _NAMES, UNSIGNED_INT),
)
LOOKUP_BY_WWN: Final = Procedure(
    297,
    "NODE_DEVICE_LOOKUP_SCSI_HOST_BY_WWN",
    xdr.Structure(WorldWideNames, STRING, STRING, UNSIGNED_INT),
    STRING,
)
REGISTER_CLOSE_CALLBACK: Final = Procedure(360, "CONNECT_REGISTER_CLOSE_CALLBACK", VOID, VOID)
UNREGISTER_CLOSE_CALLBACK: Final = Procedure(361, "CONNECT_UNREGISTER_CLOSE_CALLBACK", VOID, VOID)
REGISTER_EVENT: Final = Procedure(
    374,
    "CONNECT_NODE_DEVICE_EVENT_REGISTER_ANY",
    xdr.Structure(Registration, INT, _OPTIONAL_STRING),
    INT,
)
DEREGISTER_EVENT: Final = Procedure(375, "CONNECT_NODE_DEVICE_EVENT_DEREGISTER_ANY", INT, VOID)
SET_IDENTITY: Final = Procedure(
    419,
    "CONNECT_SET_IDENTITY",
    xdr.Structure(Identity, Array(_PARAMETER, _LIST_MAX), UNSIGNED_INT),
    VOID,
)
DEFINE_XML: Final = Procedure(
    428,
    "NODE_DEVICE_DEFINE_XML",
    xdr.Structure(XmlAndFlags, STRING, UNSIGNED_INT),
    STRING,
)
UNDEFINE: Final = Procedure(
    429, "NODE_DEVICE_UNDEFINE", xdr.Structure(NameAndFlags, STRING, UNSIGNED_INT), VOID
)
CREATE: Final = Procedure(
    430, "NODE_DEVICE_CREATE", xdr.Structure(NameAndFlags, STRING, UNSIGNED_INT), VOID
)
GET_AUTOSTART: Final = Procedure(433, "NODE_DEVICE_GET_AUTOSTART", STRING, INT)
SET_AUTOSTART: Final = Procedure(
    434, "NODE_DEVICE_SET_AUTOSTART", xdr.Structure(Autostart, STRING, INT), VOID
)
IS_PERSISTENT: Final = Procedure(435, "NODE_DEVICE_IS_PERSISTENT", STRING, INT)
IS_ACTIVE: Final = Procedure(436, "NODE_DEVICE_IS_ACTIVE", STRING, INT)
UPDATE: Final = Procedure(
    447,
    "NODE_DEVICE_UPDATE",
    xdr.Structure(NewXml, STRING, STRING, UNSIGNED_INT),
    VOID,
)

WRITES: Final[Mapping[int, tuple[Procedure[Any, Any], str]]] = {
    procedure.number: (procedure, function)
    for procedure, function in (
        (CREATE_XML, "virNodeDeviceCreateXML"),
        (DESTROY, "virNodeDeviceDestroy"),
        (DEFINE_XML, "virNodeDeviceDefineXML"),
        (UNDEFINE, "virNodeDeviceUndefine"),
        (CREATE, "virNodeDeviceCreate"),
        (SET_AUTOSTART, "virNodeDeviceSetAutostart"),
        (UPDATE, "virNodeDeviceUpdate"),
    )
}
"""The procedures that change a host, by number, with the function of libvirt's library."""

EVENT_LIFECYCLE: Final = Procedure(
    376,
    "NODE_DEVICE_EVENT_LIFECYCLE",
    xdr.Structure(LifecycleMessage, INT, STRING, INT, INT),
    VOID,
)
EVENT_UPDATE: Final = Procedure(
    377, "NODE_DEVICE_EVENT_UPDATE", xdr.Structure(UpdateMessage, INT, STRING), VOID
)


def with_callback(event: bytes, callback: int) -> bytes:
    """Return the packet of an event for another callback, the first of its arguments."""
    at = _HEADER.size
    return b"".join((event[:at], callback.to_bytes(4, "big", signed=True), event[at + 4 :]))


def encode_event(event: Procedure[A, None], arguments: A) -> bytes:
    """Return the packet of an event."""
    header = Header(REMOTE, VERSION, event.number, MessageType.MESSAGE, 0, 0)
    return encode_packet(header, xdr.encode(event.arguments, arguments))


REFUSED: Final[dict[int, tuple[str, ErrorCode, ErrorDomain]]] = {
    **{
        # As libvirt's own daemon for node devices: a hypervisor's daemon does this.
        number: (name, ErrorCode.NO_SUPPORT, ErrorDomain.NODEDEV)
        for number, name in (
            (118, "virNodeDeviceDettach"),
            (119, "virNodeDeviceReAttach"),
            (120, "virNodeDeviceReset"),
            (301, "virNodeDeviceDetachFlags"),
        )
    },
    **{
        number: (name, ErrorCode.NO_SUPPORT, ErrorDomain.DOMAIN)
        for number, name in ((7, "CONNECT_GET_CAPABILITIES"), (203, "CONNECT_GET_SYSINFO"))
    },
    **{
        number: (name, ErrorCode.AUTH_FAILED, ErrorDomain.RPC)
        for number, name in (
            (67, "AUTH_SASL_INIT"),
            (68, "AUTH_SASL_START"),
            (69, "AUTH_SASL_STEP"),
            (70, "AUTH_POLKIT"),
        )
    },
}
"""Known procedures that are not supported, by number: their name, and the error to reply."""
