// A host and a plugin on HashiCorp's go-plugin, in one program: the host starts itself again as the plugin.
//
//	goplugin rpc|grpc SIZE    reads lines: "call TIMES" prints nanoseconds for a call that is answered with SIZE bytes,
//	                          "start" prints nanoseconds from starting a plugin's process to its first answer
//
// Both transports of go-plugin are there: net/rpc (its own default), and gRPC, over a Unix socket.
package main

import (
	"bufio"
	"context"
	"fmt"
	"net/rpc"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

var handshake = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "REED_BENCH", MagicCookieValue: "1"}

// Answerer is what the plugin does: bytes in, bytes out.
type Answerer interface {
	Answer(request []byte) ([]byte, error)
}

type fixed struct{ reply []byte }

func (f fixed) Answer([]byte) ([]byte, error) { return f.reply, nil }

// By net/rpc.

type rpcPlugin struct{ answerer Answerer }

func (p rpcPlugin) Server(*plugin.MuxBroker) (any, error) { return &rpcServer{p.answerer}, nil }
func (rpcPlugin) Client(_ *plugin.MuxBroker, c *rpc.Client) (any, error) {
	return rpcClient{c}, nil
}

type rpcServer struct{ answerer Answerer }

func (s *rpcServer) Answer(request []byte, reply *[]byte) (err error) {
	*reply, err = s.answerer.Answer(request)
	return err
}

type rpcClient struct{ client *rpc.Client }

func (c rpcClient) Answer(request []byte) (reply []byte, err error) {
	err = c.client.Call("Plugin.Answer", request, &reply)
	return reply, err
}

// By gRPC, its service described by hand, its messages protobuf's own BytesValue.

const method = "/bench.Plugin/Answer"

type grpcPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	answerer Answerer
}

func (p grpcPlugin) GRPCServer(_ *plugin.GRPCBroker, server *grpc.Server) error {
	handle := func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		request := new(wrapperspb.BytesValue)
		if err := decode(request); err != nil {
			return nil, err
		}
		reply, err := p.answerer.Answer(request.Value)
		return wrapperspb.Bytes(reply), err
	}
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Plugin",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Answer", Handler: handle}},
	}, p.answerer)
	return nil
}

func (grpcPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return grpcClient{conn}, nil
}

type grpcClient struct{ conn *grpc.ClientConn }

func (c grpcClient) Answer(request []byte) ([]byte, error) {
	reply := new(wrapperspb.BytesValue)
	err := c.conn.Invoke(context.Background(), method, wrapperspb.Bytes(request), reply)
	return reply.Value, err
}

func pluginsFor(transport string, answerer Answerer) map[string]plugin.Plugin {
	if transport == "grpc" {
		return map[string]plugin.Plugin{"answerer": grpcPlugin{answerer: answerer}}
	}
	return map[string]plugin.Plugin{"answerer": rpcPlugin{answerer}}
}

func serve(transport string, size int) {
	config := &plugin.ServeConfig{
		HandshakeConfig: handshake,
		Plugins:         pluginsFor(transport, fixed{make([]byte, size)}),
		Logger:          hclog.NewNullLogger(),
	}
	if transport == "grpc" {
		config.GRPCServer = plugin.DefaultGRPCServer
	}
	plugin.Serve(config)
}

func start(transport string, size int) (*plugin.Client, Answerer) {
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake,
		Plugins:          pluginsFor(transport, nil),
		Cmd:              exec.Command(os.Args[0], transport, strconv.Itoa(size), "plugin"),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolNetRPC, plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
	})
	protocol, err := client.Client()
	check(err)
	raw, err := protocol.Dispense("answerer")
	check(err)
	return client, raw.(Answerer)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		plugin.CleanupClients()
		os.Exit(1)
	}
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "goplugin rpc|grpc SIZE")
		os.Exit(2)
	}
	transport := os.Args[1]
	size, err := strconv.Atoi(os.Args[2])
	check(err)
	if len(os.Args) > 3 {
		serve(transport, size)
		return
	}
	request := []byte(`{}`)
	client, answerer := start(transport, size)
	defer client.Kill()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		began := time.Now()
		switch words[0] {
		case "call":
			times, err := strconv.Atoi(words[1])
			check(err)
			for i := 0; i < times; i++ {
				_, err := answerer.Answer(request)
				check(err)
			}
			fmt.Println(time.Since(began).Nanoseconds() / int64(times))
		case "start":
			other, first := start(transport, size)
			_, err := first.Answer(request)
			check(err)
			took := time.Since(began)
			other.Kill() // before the time is printed: the caller's next start must not share the processor with this end
			fmt.Println(took.Nanoseconds())
		}
	}
}
