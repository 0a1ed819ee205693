// A flag is found as it is typed: the search takes a leading dash for "must not contain".
const post = Worker.prototype.postMessage
Worker.prototype.postMessage = function (message, ...rest) {
  if (typeof message?.data === "string")
    message = { ...message, data: message.data.replace(/(^|\s)-+(?=\w)/g, "$1") }
  return post.call(this, message, ...rest)
}
