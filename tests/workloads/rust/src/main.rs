//! HTTP/1.1 over rustls, one connection that is kept. Arguments: URL, CA (DER). Each line of standard input names a file, whose
//! lines are headers up to an empty one, then the body; the answer's body goes to FILE.answer. Each line of standard output is a
//! status, or the kind of the error that was met instead.
use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::{env, fs};

type Connection = BufReader<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>;

struct Server {
    host: String,
    authority: String,
    path: String,
    config: Arc<rustls::ClientConfig>,
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

fn server(url: &str, ca: &str) -> Server {
    let rest = url.strip_prefix("https://").expect("an https URL");
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(&rustls::Certificate(fs::read(ca).expect("the CA"))).expect("a certificate");
    let config = rustls::ClientConfig::builder().with_safe_defaults().with_root_certificates(roots).with_no_client_auth();
    Server {
        host: authority.split(':').next().unwrap().to_string(),
        authority: authority.to_string(),
        path: path.to_string(),
        config: Arc::new(config),
    }
}

fn connect(server: &Server) -> io::Result<Connection> {
    let name = server.host.as_str().try_into().map_err(|_| invalid("host name"))?;
    let tls = rustls::ClientConnection::new(server.config.clone(), name).map_err(|_| invalid("configuration"))?;
    let socket = TcpStream::connect(&server.authority)?;
    socket.set_nodelay(true)?;
    Ok(BufReader::new(rustls::StreamOwned::new(tls, socket)))
}

fn line(from: &mut Connection) -> io::Result<String> {
    let mut text = String::new();
    if from.read_line(&mut text)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim_end().to_string())
}

fn exactly(from: &mut Connection, bytes: usize, out: &mut impl Write) -> io::Result<()> {
    if io::copy(&mut from.take(bytes as u64), out)? != bytes as u64 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

fn answer(from: &mut Connection, out: &mut impl Write) -> io::Result<String> {
    let status = line(from)?.split(' ').nth(1).ok_or_else(|| invalid("status"))?.to_string();
    let (mut length, mut chunked) = (0, false);
    loop {
        let header = line(from)?.to_ascii_lowercase();
        match header.split_once(": ") {
            Some(("content-length", value)) => length = value.parse().map_err(|_| invalid("length"))?,
            Some(("transfer-encoding", "chunked")) => chunked = true,
            Some(_) => {}
            None => break,
        }
    }
    if !chunked {
        exactly(from, length, out)?;
        return Ok(status);
    }
    loop {
        let bytes = usize::from_str_radix(&line(from)?, 16).map_err(|_| invalid("chunk"))?;
        exactly(from, bytes, out)?;
        line(from)?;
        if bytes == 0 {
            return Ok(status);
        }
    }
}

fn post(server: &Server, connection: &mut Connection, file: &str) -> io::Result<String> {
    let text = fs::read_to_string(file)?;
    let (headers, body) = text.split_once("\n\n").ok_or_else(|| invalid("request"))?;
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n{}\r\n\r\n",
        server.path,
        server.authority,
        body.len(),
        headers.replace('\n', "\r\n")
    );
    connection.get_mut().write_all(head.as_bytes())?;
    connection.get_mut().write_all(body.as_bytes())?;
    connection.get_mut().flush()?;
    answer(connection, &mut fs::File::create(format!("{file}.answer"))?)
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let server = server(&arguments[1], &arguments[2]);
    let mut kept: Option<Connection> = None;
    for file in io::stdin().lock().lines() {
        let done = match kept.take() {
            Some(connection) => Ok(connection),
            None => connect(&server),
        }
        .and_then(|mut connection| {
            let status = post(&server, &mut connection, &file.expect("a line"))?;
            kept = Some(connection);
            Ok(status)
        });
        println!("{}", done.unwrap_or_else(|e| format!("{:?}", e.kind())));
    }
}
