"""The provider's side of one HTTP/2 connection: whole requests out of plaintext, answers into it. Frames and header
compression are python3-h2's; flow control of answers is kept here, since that library only checks it."""
import h2.config
import h2.connection
import h2.events
import h2.settings

MAX_STREAMS = 256


class Stream:
    """One request being read, then its answer being written."""

    def __init__(self, number, headers):
        self.number = number
        self.headers = headers
        self.body = bytearray()
        self.unsent = bytearray()
        self.finished = False   # the answer has been handed over whole


class Http2:
    """Feed plaintext, take requests; `send` is called with plaintext to send. Clients may send 64 KiB ahead, as with most servers."""

    def __init__(self, send):
        self.send = send
        self.streams = {}
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding='latin-1'))
        self.connection.local_settings = h2.settings.Settings(client=False, initial_values={
            h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS})
        self.connection.initiate_connection()
        self._flush()

    def _flush(self):
        data = self.connection.data_to_send()
        if data:
            self.send(data)

    def feed(self, data):
        """Returns the requests that are whole now as (stream, method, target, headers, head bytes, body)."""
        whole = []
        for event in self.connection.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self.streams[event.stream_id] = Stream(event.stream_id, dict(event.headers))
            elif isinstance(event, h2.events.DataReceived):
                self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.streams[event.stream_id].body += event.data
            elif isinstance(event, h2.events.StreamEnded):
                stream = self.streams[event.stream_id]
                headers = {k: v for k, v in stream.headers.items() if not k.startswith(':')}
                headers.setdefault('host', stream.headers.get(':authority', ''))
                head_bytes = sum(len(k) + len(v) for k, v in stream.headers.items())
                whole.append((stream, stream.headers[':method'], stream.headers[':path'], headers, head_bytes, bytes(stream.body)))
                stream.body.clear()
            elif isinstance(event, h2.events.StreamReset):
                self.streams.pop(event.stream_id, None)
            elif isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
                for stream in list(self.streams.values()):
                    self._pump(stream)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.streams.clear()
        self._flush()
        return whole

    def pending_bytes(self):
        """Bodies that have begun and not ended."""
        return b''.join(bytes(s.body) for s in self.streams.values())

    def begin(self, stream, status, lines):
        if stream.number not in self.streams:
            return
        pairs = [line.split(': ', 1) for line in lines]
        self.connection.send_headers(stream.number, [(':status', str(status)), *[(k, v) for k, v in pairs if k != 'connection']])
        self._flush()

    def data(self, stream, data, last=False):
        stream.unsent += data
        stream.finished = last
        self._pump(stream)
        self._flush()

    def _pump(self, stream):
        if stream.number not in self.streams:
            return
        while stream.unsent:
            room = min(self.connection.local_flow_control_window(stream.number), self.connection.max_outbound_frame_size, len(stream.unsent))
            if room <= 0:
                return
            last = stream.finished and room == len(stream.unsent)
            self.connection.send_data(stream.number, bytes(stream.unsent[:room]), end_stream=last)
            del stream.unsent[:room]
            if last:
                del self.streams[stream.number]
                return
        if stream.finished:
            self.connection.end_stream(stream.number)
            del self.streams[stream.number]
