# A broker with its gateway. Every step is one the Makefile runs as well.
#   docker build -t osqueue .
#   docker run -p 8080:8080 -p 8081:8081 -v osqueue:/data -e OSQUEUE_TOKEN=... osqueue

FROM python:3.11 AS build
WORKDIR /src
COPY . .
RUN make runtime RUNTIME=/opt/osqueue

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 osqueue && mkdir /data && chown osqueue:osqueue /data
COPY --from=build /opt/osqueue /opt/osqueue
USER osqueue
WORKDIR /home/osqueue
ENV PATH=/opt/osqueue/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OSQUEUE_DATA_DIR=/data \
    STORAGE_BACKEND=file
VOLUME /data
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-m", "osqueue_service.rpc.healthcheck"]
ENTRYPOINT ["osqueue"]
CMD ["serve"]
