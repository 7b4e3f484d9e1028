"""Asks an agent over gRPC, and prints its answer as it is written: python ask.py "How are limits decided?" """

import os
import sys

import grpc
from ragents.agent.v1 import agent_service_pb2 as agent
from ragents.agent.v1.agent_service_pb2_grpc import AgentServiceStub

ADDRESS = os.environ.get("RAGENTS_ADDRESS", "127.0.0.1:8443")
AUTHORITY = os.environ.get("RAGENTS_CA")  # a file; needed where the edge's certificate is of a local authority
METADATA = [("authorization", f"Bearer {os.environ['RAGENTS_API_KEY']}")]


def main(question: str) -> None:
    authority = open(AUTHORITY, "rb").read() if AUTHORITY else None
    with grpc.secure_channel(ADDRESS, grpc.ssl_channel_credentials(authority)) as channel:
        stub = AgentServiceStub(channel)
        agents = stub.ListAgents(agent.ListAgentsRequest(), metadata=METADATA, timeout=10).agents
        print("agents:", ", ".join(one.agent_type for one in agents), file=sys.stderr)
        request = agent.StreamQueryRequest(query=question)
        for response in stub.StreamQuery(request, metadata=METADATA, timeout=300):
            if response.HasField("token"):
                print(response.token.text, end="", flush=True)
            if response.HasField("result"):
                print()
                for citation in response.result.metadata.citations:
                    print(f"[{citation.index}] {citation.document_id}")


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
